import { dense } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";
import { ternaryEncoding, weightDims } from "./weight.ts";

/** w ternary(tensor) or ternary(row) [N, K] -> f32 [N]. */
export const weightScale: Op<typeof noAttributes> = {
  summary: "The scale of each output row of a ternary weight; a per-tensor scale is repeated.",
  operands: ["w"],
  attributes: noAttributes,
  infer([w], _attributes, site) {
    const [n] = weightDims(w!, "w", site);
    if (typeof ternaryEncoding(w!, "w", site).scale === "object")
      site.dtype("w with scales per tensor or row");
    return [dense("f32", [n])];
  },
  evaluate([w], _attributes, [type]) {
    const data = new Float32Array(w!.type.dims[0]!);
    if (w!.scales!.length === 1) data.fill(w!.scales![0]!);
    else data.set(w!.scales!);
    return [{ type: type!, data }];
  },
  // Scales are detached.
  gradient: "zero",
};
