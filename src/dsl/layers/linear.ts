import { type Layer, makeLayer } from "../layer.ts";
import { knownOptions, positiveInteger } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { layerInput } from "./layer-input.ts";

export interface LinearOptions {
  /** Add a bias of one number an output feature. Default `false`. */
  readonly bias?: boolean;
}

/** An ordinary linear layer; see `linear`. */
export type Linear<In extends number = number, Out extends number = number> = Layer & {
  /** `f32[..., in]` -> `f32[..., out]`, any number of leading axes. */
  <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]>;
  readonly inFeatures: In;
  readonly outFeatures: Out;
};

/**
 * y = x · W^T + b with weights as the checkpoint holds them (f32, f16, bf16, or int8 when the build says so).
 * `f32[..., inFeatures]` -> `f32[..., outFeatures]`; parameters `weight` [out, in] and, with `bias`, `bias` [out].
 * @throws BitloomError INVALID_OPTION for features or options out of range.
 */
export function linear<const In extends number, const Out extends number>(
  inFeatures: In,
  outFeatures: Out,
  options: LinearOptions = {},
): Linear<In, Out> {
  positiveInteger("linear: inFeatures", inFeatures);
  positiveInteger("linear: outFeatures", outFeatures);
  knownOptions("linear", options, ["bias"]);
  const layer: Linear<In, Out> = makeLayer(
    {
      type: "linear",
      parameters: {
        weight: { dims: [outFeatures, inFeatures], kind: "linear" },
        ...(options.bias && { bias: { dims: [outFeatures], kind: "bias" } }),
      },
    },
    <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]> => {
      const trace = layerInput(layer, x, "f32", inFeatures);
      const weight = trace.parameter(layer, "weight");
      const y: Tensor<"f32", [...Lead, Out]> = trace.tensor("linear", [x, weight], {}, trace.pathOf(layer));
      return options.bias ? trace.tensor("add", [y, trace.parameter(layer, "bias")], {}) : y;
    },
    { inFeatures, outFeatures },
  );
  return layer;
}
