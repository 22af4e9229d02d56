import { type BlockNode, compound } from "../layer.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import type { BitLinear } from "./bit-linear.ts";
import type { BitLinearLRC } from "./bit-linear-lrc.ts";
import type { Linear } from "./linear.ts";
import { subLN } from "./rms-norm.ts";

/** A linear layer that normalizes what it reads; see `normalized`. */
export type Normalized<In extends number = number, Out extends number = number> = BlockNode & {
  /** `f32[..., in]` -> `f32[..., out]`, any number of leading axes. */
  <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]>;
  readonly inFeatures: In;
  readonly outFeatures: Out;
};

/**
 * A linear layer, ternary or not, with a SubLN before it. The layer keeps its path; the norm is `rms_norm` below
 * it, as in the checkpoints of transformers whose quantization_config says `use_rms_norm`.
 */
export function normalized<In extends number, Out extends number>(
  linear: Linear<In, Out> | BitLinear<In, Out> | BitLinearLRC<In, Out>,
  eps: number,
): Normalized<In, Out> {
  const { inFeatures, outFeatures } = linear;
  return compound({ rms_norm: subLN(inFeatures, { eps }), linear }, ["linear"], ({ rms_norm, linear }) => {
    const call = <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]> =>
      linear(rms_norm(x));
    return Object.assign(call, { inFeatures, outFeatures });
  });
}
