import { type Layer, makeLayer } from "../layer.ts";
import { knownOptions, positiveInteger, positiveNumber } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { layerInput } from "./layer-input.ts";

export interface NormOptions {
  /** Added to the mean square before its root. Default 1e-5. */
  readonly eps?: number;
}

/** A normalization over the last axis; see `rmsNorm` and `subLN`. */
export type RMSNorm<N extends number = number> = Layer & {
  /** `f32[..., features]` -> the same shape, any number of leading axes. */
  <Lead extends Dims>(x: Tensor<"f32", [...Lead, N]>): Tensor<"f32", [...Lead, N]>;
  readonly features: N;
};

/**
 * Root mean square normalization (arXiv:1910.07467): y = w * x / sqrt(mean(x^2) + eps) over the last axis.
 * `f32[..., features]` -> `f32[..., features]`; parameter `weight` [features].
 * @throws BitloomError INVALID_OPTION for features below 1 or an eps that is not positive.
 */
export function rmsNorm<const N extends number>(features: N, options: NormOptions = {}): RMSNorm<N> {
  return norm("rmsNorm", features, options);
}

/**
 * The additional normalization that BitNet places before the last projection of attention and feed-forward
 * (SubLN, arXiv:2210.06423; RMS as in BitNet b1.58). The same computation as `rmsNorm`, under the name that
 * says why it is there.
 * @throws BitloomError INVALID_OPTION for features below 1 or an eps that is not positive.
 */
export function subLN<const N extends number>(features: N, options: NormOptions = {}): RMSNorm<N> {
  return norm("subLN", features, options);
}

function norm<N extends number>(type: string, features: N, options: NormOptions): RMSNorm<N> {
  positiveInteger(`${type}: features`, features);
  knownOptions(type, options, ["eps"]);
  const eps = positiveNumber(`${type}: eps`, options.eps ?? 1e-5);
  const layer: RMSNorm<N> = makeLayer(
    { type, parameters: { weight: { dims: [features], kind: "norm" } } },
    <Lead extends Dims>(x: Tensor<"f32", [...Lead, N]>): Tensor<"f32", [...Lead, N]> => {
      const trace = layerInput(layer, x, "f32", features);
      const weight = trace.parameter(layer, "weight");
      return trace.tensor("rms_norm", [x, weight], { eps }, trace.pathOf(layer));
    },
    { features },
  );
  return layer;
}
