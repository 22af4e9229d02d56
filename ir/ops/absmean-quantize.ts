import { z } from "zod";
import { absmean } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { encoded } from "../types.ts";
import { type Op, scaleSchema } from "./define.ts";
import { weightDims } from "./weight.ts";

const attributes = z.strictObject({ scale: scaleSchema });

/** w f32 [N, K] -> f32 [N, K] ternary(scale). Depends on parameters only, so it runs when a model is built. */
export const absmeanQuantize: Op<typeof attributes> = {
  summary:
    "Ternary weights: alpha = max(RN(sum|w| / n), 1e-5) with the sum in f64, ascending; " +
    "code = clamp(RNE(RN(w * RN(1/alpha))), -1, 1). A tail group uses its own length.",
  operands: ["w"],
  attributes,
  infer([w], { scale }, site) {
    site.requireDense(0, "f32");
    return [encoded(weightDims(w!, "w", site), { kind: "ternary", scale })];
  },
  evaluate([w], { scale }) {
    const [n = 0, k = 0] = w!.type.dims;
    return [absmean(toFloat32(w!), n, k, scale)];
  },
  // Straight-through (arXiv:1308.3432): identity, no clip mask, the scale detached.
  gradient: ({ gradients: [g] }) => [g],
};
