import { type BlockNode, compound } from "../layer.ts";
import { invalidOption } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { traceOf } from "../trace.ts";
import { type BitLinear, type BitLinearOptions, bitLinear } from "./bit-linear.ts";
import { lowRank } from "./low-rank.ts";

/** Options of `bitLinear`, and the rank of the correction: 1 to the smaller of the two sizes. */
export type BitLinearLRCOptions = BitLinearOptions & { readonly rank: number };

/** A BitLinear with a low-rank correction; see `bitLinearLRC`. */
export type BitLinearLRC<In extends number = number, Out extends number = number> = BlockNode & {
  /** `f32[..., in]` -> `f32[..., out]`, any number of leading axes. */
  <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]>;
  readonly inFeatures: In;
  readonly outFeatures: Out;
  readonly rank: number;
};

/**
 * BitLinear with a low-rank correction on the activation before it is quantized (arXiv:2412.07902):
 * y = bitLinear(x) + U · V^T · x. Parameters `weight` and `bias` as in `bitLinear`, and `lrc_U` [out, rank] and
 * `lrc_V` [in, rank] in full precision.
 * `f32[..., inFeatures]` -> `f32[..., outFeatures]`.
 * @throws BitloomError INVALID_OPTION for features or options out of range.
 */
export function bitLinearLRC<const In extends number, const Out extends number>(
  inFeatures: In,
  outFeatures: Out,
  options: BitLinearLRCOptions,
): BitLinearLRC<In, Out> {
  const { rank, ...own } = options ?? {};
  return corrected(bitLinear(inFeatures, outFeatures, own), rank);
}

/** A BitLinear that there is already, with a correction at its path. */
export function corrected<In extends number, Out extends number>(
  linear: BitLinear<In, Out>,
  rank: number,
): BitLinearLRC<In, Out> {
  const { inFeatures, outFeatures } = linear;
  const largest = Math.min(inFeatures, outFeatures);
  if (!Number.isInteger(rank) || rank < 1 || rank > largest) {
    throw invalidOption("bitLinearLRC: rank", `an integer in 1..${largest}`, rank);
  }
  const layers = { linear, correction: lowRank(inFeatures, outFeatures, rank) };
  return compound(layers, ["linear", "correction"], ({ linear, correction }) => {
    const call = <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]> => {
      const y = linear(x);
      return traceOf("bitLinearLRC", y).tensor("add", [y, correction(x)], {});
    };
    return Object.assign(call, { inFeatures, outFeatures, rank });
  });
}
