import { z } from "zod";
import { softmaxRow } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { sameDims } from "../types.ts";
import { firstDerivativeOnly, numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({
  /** What scores were multiplied with. */
  scale: numberSchema,
});

const RN = Math.fround;

/** q and g f32 [batch, seq, H, D], k and v f32 [batch, seq, KV, D] -> dq, dk, dv of the shapes of q, k, v. */
export const attentionGradient: Op<typeof attributes> = {
  summary:
    "Gradients of causal `attention` without caches from that of its result, from scores computed anew: with " +
    "p the weights of a query, dp = g . v and ds = scale * p * (dp - sum p * dp), dq = sum ds * k, " +
    "dk = sum ds * q and dv = sum p * g over the queries that see a key (arXiv:2205.14135, appendix B).",
  operands: ["q", "k", "v", "g"],
  attributes,
  infer([q, k, v, g], _attributes, site) {
    for (const index of [0, 1, 2, 3]) {
      site.requireDense(index, "f32");
      site.requireRank(index, 4);
    }
    if (!sameDims(k!.dims, v!.dims)) site.shape("k and v of the same shape");
    if (!sameDims(q!.dims, g!.dims)) site.shape("g with the shape of q");
    const [batch, seq, heads, width] = q!.dims;
    const [keyBatch, keySeq, keyHeads, keyWidth] = k!.dims;
    if (keyBatch !== batch || keySeq !== seq || keyWidth !== width) {
      site.shape("k with the batch, seq and D of q");
    }
    if (typeof heads !== "number" || typeof keyHeads !== "number" || heads % keyHeads !== 0) {
      site.shape("literal head counts, H of q a multiple of KV of k");
    }
    return [q!, k!, v!];
  },
  evaluate([q, k, v, g], { scale }, [queryType, keyType, valueType]) {
    const [batch = 0, seq = 0, heads = 0, width = 0] = q!.type.dims;
    const keyHeads = k!.type.dims[2]!;
    const [queries, keys, values, gradients] = [q!, k!, v!, g!].map(toFloat32) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const group = heads / keyHeads;
    const dq = new Float64Array(queries.length);
    const dk = new Float64Array(keys.length);
    const dv = new Float64Array(values.length);
    const dot = (a: Float32Array, at: number, b: Float32Array, bt: number) => {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += a[at + i]! * b[bt + i]!;
      return sum;
    };
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < seq; t++) {
        for (let head = 0; head < heads; head++) {
          const query = ((b * seq + t) * heads + head) * width;
          const keyRow = (row: number) => ((b * seq + row) * keyHeads + Math.floor(head / group)) * width;
          const rows = Array.from({ length: t + 1 }, (_, row) => keyRow(row));
          const scores = Float32Array.from(rows, (row) => RN(dot(queries, query, keys, row)) * RN(scale));
          const weights = softmaxRow(scores);
          const weightGradients = rows.map((row) => dot(gradients, query, values, row));
          const mean = weightGradients.reduce((sum, dp, row) => sum + weights[row]! * dp, 0);
          for (const [index, row] of rows.entries()) {
            const p = weights[index]!;
            const ds = RN(scale) * p * (weightGradients[index]! - mean);
            for (let i = 0; i < width; i++) {
              dq[query + i]! += ds * keys[row + i]!;
              dk[row + i]! += ds * queries[query + i]!;
              dv[row + i]! += p * gradients[query + i]!;
            }
          }
        }
      }
    }
    return [
      { type: queryType!, data: Float32Array.from(dq) },
      { type: keyType!, data: Float32Array.from(dk) },
      { type: valueType!, data: Float32Array.from(dv) },
    ];
  },
  gradient: firstDerivativeOnly,
};
