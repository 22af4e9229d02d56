import { quantizeInt8Rows } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { encoded } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";
import { weightDims } from "./weight.ts";

/** w f32, f16 or bf16 [N, K] -> f32 [N, K] int8(row). Runs when a model is built. */
export const quantizeInt8: Op<typeof noAttributes> = {
  summary:
    "Weights as int8 with a scale a row: scale = RN(max|row| / 127), code = clamp(RNE(RN(w / scale)), -127, 127).",
  operands: ["w"],
  attributes: noAttributes,
  infer([w], _attributes, site) {
    site.requireDense(0, "f32", "f16", "bf16");
    return [encoded(weightDims(w!, "w", site), { kind: "int8", scale: "row" })];
  },
  evaluate([w]) {
    const [n = 0, k = 0] = w!.type.dims;
    return [quantizeInt8Rows(toFloat32(w!), n, k)];
  },
  // Straight-through: identity, the scale detached.
  gradient: ({ gradients: [g] }) => [g],
};
