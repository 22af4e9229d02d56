import { z } from "zod";
import { toFloat32 } from "../tensor.ts";
import { dense } from "../types.ts";
import { leading, literalLastDim, type Op } from "./define.ts";

const attributes = z.strictObject({
  /** How many elements of each row are kept. */
  k: z.int().min(1),
});

/** x f32 [..., N] -> values f32 [..., K], indices i32 [..., K]; with K = 1 the largest element and argmax. */
export const topK: Op<typeof attributes> = {
  summary:
    "The k largest of each row, in descending order, the lower index first of equals: 0 and -0 are equal (and " +
    "given as 0), NaN is above all.",
  operands: ["x"],
  attributes,
  infer([x], { k }, site) {
    site.requireDense(0, "f32");
    const n = literalLastDim(x!, "x", site);
    if (k > n) site.attribute(`k of at most ${n}, the length of a row`, `k = ${k}`);
    const dims = [...leading(x!.dims), k];
    return [dense("f32", dims), dense("i32", dims)];
  },
  evaluate([x], { k }, [valuesType, indicesType]) {
    const n = x!.type.dims.at(-1)!;
    const from = toFloat32(x!);
    const rows = from.length / n;
    const values = new Float32Array(rows * k);
    const indices = new Int32Array(rows * k);
    for (let row = 0; row < rows; row++) {
      const own = from.subarray(row * n, (row + 1) * n);
      const order = Array.from(own.keys()).sort((a, b) => descending(own[a]!, own[b]!) || a - b);
      for (let i = 0; i < k; i++) {
        // The sum of -0 and 0 is 0.
        values[row * k + i] = own[order[i]!]! + 0;
        indices[row * k + i] = order[i]!;
      }
    }
    return [
      { type: valuesType!, data: values },
      { type: indicesType!, data: indices },
    ];
  },
  gradient: { hint: "A choice has no gradient here: use max_reduce for the largest element." },
};

/** Below 0 where a comes before b. */
function descending(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(b)) - Number(Number.isNaN(a));
  return a === b ? 0 : a > b ? -1 : 1;
}
