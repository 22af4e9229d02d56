import { type Layer, makeLayer } from "../layer.ts";
import { positiveInteger } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { layerInput } from "./layer-input.ts";

/** A table of one vector a token; see `embedding`. */
export type Embedding<V extends number = number, H extends number = number> = Layer & {
  /** Token ids `i32[...]` -> their rows `f32[..., hidden]`. */
  <Lead extends Dims>(ids: Tensor<"i32", Lead>): Tensor<"f32", [...Lead, H]>;
  /**
   * The output projection that shares the table (tied head, arXiv:1608.05859): `f32[..., hidden]` ->
   * logits `f32[..., vocabulary]`.
   */
  head<Lead extends Dims>(x: Tensor<"f32", [...Lead, H]>): Tensor<"f32", [...Lead, V]>;
};

/**
 * Looks up token ids in a table of `vocabularySize` rows of `hiddenSize` features; parameter `weight`
 * [vocabulary, hidden]. Its method `head` multiplies by the same table, for models with a tied output.
 * @throws BitloomError INVALID_OPTION for sizes below 1.
 */
export function embedding<const V extends number, const H extends number>(
  vocabularySize: V,
  hiddenSize: H,
): Embedding<V, H> {
  positiveInteger("embedding: vocabularySize", vocabularySize);
  positiveInteger("embedding: hiddenSize", hiddenSize);
  const layer: Embedding<V, H> = makeLayer(
    {
      type: "embedding",
      parameters: { weight: { dims: [vocabularySize, hiddenSize], kind: "embedding" } },
    },
    <Lead extends Dims>(ids: Tensor<"i32", Lead>): Tensor<"f32", [...Lead, H]> => {
      const trace = layerInput(layer, ids, "i32");
      const weight = trace.parameter(layer, "weight");
      return trace.tensor("embedding", [weight, ids], {}, trace.pathOf(layer));
    },
    {
      head: <Lead extends Dims>(x: Tensor<"f32", [...Lead, H]>): Tensor<"f32", [...Lead, V]> => {
        const trace = layerInput(layer, x, "f32", hiddenSize);
        const weight = trace.parameter(layer, "weight");
        return trace.tensor("linear", [x, weight], {}, `${trace.pathOf(layer)}.head`);
      },
    },
  );
  return layer;
}
