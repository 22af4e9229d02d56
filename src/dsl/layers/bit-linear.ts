import type { ScaleGranularity } from "../../../ir/types.ts";
import { type Layer, type LayerDeclaration, makeLayer } from "../layer.ts";
import { invalidOption, knownOptions, oneOf, positiveInteger } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { layerInput } from "./layer-input.ts";

/** How a BitLinear quantizes what it multiplies. */
export type BitLinearOptions = {
  /** Add a bias of one number an output feature, after scaling. Default `false`. */
  readonly bias?: boolean;
  /**
   * Quantization of the input, absmax over each row (a token) or over the whole tensor, to signed integers
   * of 2 to 8 bits. `null` leaves the input in f32. Default `{ bits: 8, granularity: "row" }`.
   */
  readonly activation?: {
    readonly bits?: number;
    readonly granularity?: "row" | "tensor";
  } | null;
} & (
  | {
      /** One scale for the whole weight, or one an output feature. Default `"tensor"`. */
      readonly weightScale?: "tensor" | "row";
      readonly groupSize?: never;
    }
  | {
      readonly weightScale?: "group";
      /** One scale for each `groupSize` input features of each output feature; the last group may be short. */
      readonly groupSize: number;
    }
);

/** A linear layer with weights in {-1, 0, +1}; see `bitLinear`. */
export type BitLinear<In extends number = number, Out extends number = number> = Layer & {
  /** `f32[..., in]` -> `f32[..., out]`, any number of leading axes. */
  <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]>;
  readonly inFeatures: In;
  readonly outFeatures: Out;
};

/**
 * BitLinear of BitNet b1.58 (arXiv:2402.17764): y = dequantize(quantize(x) · ternary(W)^T) + b, with
 * absmean weights in {-1, 0, +1}, absmax activations of 8 bits, and an exact integer product between.
 * `f32[..., inFeatures]` -> `f32[..., outFeatures]`; parameters `weight` [out, in] and, with `bias`, `bias` [out].
 *
 * ```ts
 * layers: { up: bitLinear(256, 1024), down: bitLinear(1024, 256, { groupSize: 128 }) }
 * ```
 * @throws BitloomError INVALID_OPTION for features or options out of range.
 */
export function bitLinear<const In extends number, const Out extends number>(
  inFeatures: In,
  outFeatures: Out,
  options: BitLinearOptions = {},
): BitLinear<In, Out> {
  positiveInteger("bitLinear: inFeatures", inFeatures);
  positiveInteger("bitLinear: outFeatures", outFeatures);
  knownOptions("bitLinear", options, ["bias", "weightScale", "groupSize", "activation"]);
  const attributes = {
    weight_scale: scaleGranularity(options),
    activation: activationOf(options),
  };
  const parameters: LayerDeclaration["parameters"] = {
    weight: { dims: [outFeatures, inFeatures], kind: "bitLinear" },
    ...(options.bias && { bias: { dims: [outFeatures], kind: "bias" } }),
  };
  const layer: BitLinear<In, Out> = makeLayer(
    { type: "bitLinear", parameters },
    <Lead extends Dims>(x: Tensor<"f32", [...Lead, In]>): Tensor<"f32", [...Lead, Out]> => {
      const trace = layerInput(layer, x, "f32", inFeatures);
      const weights = Object.keys(parameters).map((name) => trace.parameter(layer, name));
      return trace.tensor("bit_linear", [x, ...weights], attributes, trace.pathOf(layer));
    },
    { inFeatures, outFeatures },
  );
  return layer;
}

function scaleGranularity(options: BitLinearOptions): ScaleGranularity {
  const { groupSize } = options;
  const weightScale = options.weightScale ?? (groupSize === undefined ? "tensor" : "group");
  oneOf("bitLinear: weightScale", weightScale, ["tensor", "row", "group"]);
  if (weightScale === "group") {
    return { group: positiveInteger("bitLinear: groupSize", groupSize as number) };
  }
  if (groupSize !== undefined) {
    throw invalidOption("bitLinear: weightScale", `"group" when a groupSize is given`, weightScale);
  }
  return weightScale;
}

function activationOf(options: BitLinearOptions) {
  if (options.activation === null) return null;
  const { bits = 8, granularity = "row" } = options.activation ?? {};
  knownOptions("bitLinear: activation", options.activation ?? {}, ["bits", "granularity"]);
  if (!Number.isInteger(bits) || bits < 2 || bits > 8) {
    throw invalidOption("bitLinear: activation.bits", "an integer in 2..8", bits);
  }
  oneOf("bitLinear: activation.granularity", granularity, ["row", "tensor"]);
  return { bits, granularity };
}
