import { z } from "zod";
import { softmaxRow } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { sameDims } from "../types.ts";
import { requireCacheRows } from "./cache-write.ts";
import { numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({
  /** What scores are multiplied with, usually 1/sqrt(D). */
  scale: numberSchema,
});

const RN = Math.fround;

/**
 * q f32 [batch, seq, H, D]; k and v f32 [batch, seq, KV, D], or with slots and positions (i32 [batch]) caches
 * f32 [slots, T, KV, D] -> f32 [batch, seq, H, D]. H is a multiple of KV.
 */
export const attention: Op<typeof attributes> = {
  summary:
    "Causal grouped-query attention: query head h reads key head floor(h / (H/KV)), softmax in f32. " +
    "Without caches query t sees keys 0..t; with them, cache rows 0..positions[b]+t of slot slots[b].",
  operands: ["q", "k", "v", "slots?", "positions?"],
  attributes,
  infer([q, k, v, slots, positions], _attributes, site) {
    for (const index of [0, 1, 2]) {
      site.requireDense(index, "f32");
      site.requireRank(index, 4);
    }
    if (!sameDims(k!.dims, v!.dims)) site.shape("k and v of the same shape");
    const [batch, seq, heads, width] = q!.dims;
    const [keyBatch, keySeq, keyHeads, keyWidth] = k!.dims;
    if (width !== keyWidth) site.shape("q and k with the same D");
    if (typeof heads !== "number" || typeof keyHeads !== "number" || heads % keyHeads !== 0) {
      site.shape("literal head counts, H of q a multiple of KV of k");
    }
    if (slots) {
      if (!positions) site.shape("slots and positions together");
      site.requireDense(3, "i32");
      site.requireDense(4, "i32");
      if (!sameDims(slots.dims, [batch!]) || !sameDims(positions!.dims, [batch!])) {
        site.shape("slots and positions [batch] with the batch of q");
      }
    } else if (keyBatch !== batch || keySeq !== seq) site.shape("k with the batch and seq of q");
    return [q!];
  },
  evaluate([q, k, v, slots, positions], { scale }, [type]) {
    const [batch = 0, seq = 0, heads = 0, width = 0] = q!.type.dims;
    const [slotCount = 0, length = 0, keyHeads = 0] = k!.type.dims;
    const queries = toFloat32(q!);
    const keys = toFloat32(k!);
    const values = toFloat32(v!);
    const group = heads / keyHeads;
    const out = new Float32Array(queries.length);
    for (let b = 0; b < batch; b++) {
      const slot = slots ? slots.data[b]! : b;
      const first = positions ? positions.data[b]! : 0;
      requireCacheRows("attention", slot, slotCount, first, first + seq, length);
      for (let t = 0; t < seq; t++) {
        for (let head = 0; head < heads; head++) {
          const query = ((b * seq + t) * heads + head) * width;
          const visible = first + t + 1;
          const keyRow = (row: number) =>
            ((slot * length + row) * keyHeads + Math.floor(head / group)) * width;
          const scores = new Float32Array(visible);
          for (let row = 0; row < visible; row++) {
            let dot = 0;
            for (let i = 0; i < width; i++) dot += queries[query + i]! * keys[keyRow(row) + i]!;
            scores[row] = RN(dot) * RN(scale);
          }
          const weights = softmaxRow(scores);
          for (let i = 0; i < width; i++) {
            let sum = 0;
            for (let row = 0; row < visible; row++) sum += weights[row]! * values[keyRow(row) + i]!;
            out[query + i] = sum;
          }
        }
      }
    }
    return [{ type: type!, data: out }];
  },
  gradient({ operands: [q, k, v, slots], attributes, gradients: [g], emit }) {
    if (slots)
      return { hint: "Train on whole sequences, without caches: run the pass whole-sequences first." };
    return emit.apply("attention_gradient", [q!, k!, v!, g!], attributes);
  },
};
