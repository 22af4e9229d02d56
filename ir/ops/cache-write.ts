import { BitloomError } from "../../errors/index.ts";
import { toFloat32 } from "../tensor.ts";
import { sameDims } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";

/** cache f32 [slots, T, KV, D], x f32 [batch, seq, KV, D], slots and positions i32 [batch] -> new cache. */
export const cacheWrite: Op<typeof noAttributes> = {
  summary:
    "Writes row t of sequence b to cache row positions[b] + t of slot slots[b]; no two sequences have one slot. " +
    "The result takes the place of the cache in memory.",
  operands: ["cache", "x", "slots", "positions"],
  attributes: noAttributes,
  infer([cache, x, slots, positions], _attributes, site) {
    site.requireDense(0, "f32");
    site.requireDense(1, "f32");
    site.requireDense(2, "i32");
    site.requireDense(3, "i32");
    site.requireRank(0, 4);
    site.requireRank(1, 4);
    if (!sameDims(cache!.dims.slice(2), x!.dims.slice(2))) {
      site.shape("cache [slots, T, KV, D] and x [batch, seq, KV, D] with the same KV and D");
    }
    const batch = x!.dims.slice(0, 1);
    if (!sameDims(slots!.dims, batch) || !sameDims(positions!.dims, batch)) {
      site.shape("slots and positions [batch] with the batch of x");
    }
    return [cache!];
  },
  evaluate([cache, x, slots, positions], _attributes, [type]) {
    const [slotCount = 0, length = 0, heads = 0, width = 0] = cache!.type.dims;
    const [batch = 0, seq = 0] = x!.type.dims;
    const used = Array.from(slots!.data);
    const repeated = used.find((slot, b) => used.indexOf(slot) !== b);
    if (repeated !== undefined) {
      throw new BitloomError("INVALID_INPUT", "cache_write: two sequences have the same cache slot", {
        expected: "slots that differ",
        received: `slot ${repeated} twice`,
      });
    }
    const row = heads * width;
    const data = toFloat32(cache!).slice();
    for (let b = 0; b < batch; b++) {
      const slot = slots!.data[b]!;
      const first = positions!.data[b]!;
      requireCacheRows("cache_write", slot, slotCount, first, first + seq, length);
      const from = toFloat32(x!).subarray(b * seq * row, (b + 1) * seq * row);
      data.set(from, (slot * length + first) * row);
    }
    return [{ type: type!, data }];
  },
  gradient: { hint: "Train on whole sequences, without caches: run the pass whole-sequences first." },
};

/** Throws unless a slot exists and holds rows begin..end-1. */
export function requireCacheRows(
  op: string,
  slot: number,
  slotCount: number,
  begin: number,
  end: number,
  length: number,
): void {
  if (slot < 0 || slot >= slotCount) {
    throw new BitloomError("INVALID_INPUT", `${op}: no such cache slot`, {
      expected: `0..${slotCount - 1}`,
      received: `slot ${slot}`,
    });
  }
  if (begin < 0 || end > length) {
    throw new BitloomError("CONTEXT_OVERFLOW", `${op}: positions beyond the cache`, {
      expected: `rows 0..${length - 1}`,
      received: `rows ${begin}..${end - 1}`,
    });
  }
}
