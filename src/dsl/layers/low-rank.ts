import { type Layer, makeLayer } from "../layer.ts";
import { positiveInteger } from "../options.ts";
import type { Dims } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { layerInput } from "./layer-input.ts";

/** A product with a matrix of low rank; see `lowRank`. */
export type LowRank = Layer &
  (<Lead extends Dims>(x: Tensor<"f32", [...Lead, number]>) => Tensor<"f32", [...Lead, number]>);

/**
 * y = x · V · U^T: `f32[..., inFeatures]` -> `f32[..., outFeatures]` in full precision; parameters `lrc_U`
 * [outFeatures, rank] and `lrc_V` [inFeatures, rank], as arXiv:2412.07902 has them.
 */
export function lowRank(inFeatures: number, outFeatures: number, rank: number): LowRank {
  positiveInteger("lowRank: rank", rank);
  const layer: LowRank = makeLayer(
    {
      type: "lowRank",
      parameters: {
        lrc_U: { dims: [outFeatures, rank], kind: "correction" },
        lrc_V: { dims: [inFeatures, rank], kind: "correction" },
      },
    },
    <Lead extends Dims>(x: Tensor<"f32", [...Lead, number]>): Tensor<"f32", [...Lead, number]> => {
      const trace = layerInput(layer, x, "f32", inFeatures);
      const path = trace.pathOf(layer);
      const v = trace.tensor("transpose", [trace.parameter(layer, "lrc_V")], { permutation: [1, 0] });
      const narrow = trace.tensor("linear", [x, v], {}, `${path}.narrow`);
      return trace.tensor("linear", [narrow, trace.parameter(layer, "lrc_U")], {}, `${path}.correction`);
    },
  );
  return layer;
}
