import {
  type Buffer,
  bits,
  type f32,
  type i32,
  localId,
  type Static,
  select,
  type u32,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { type DenseWeight, decodeAt } from "./dense-weights.ts";
import { blockIndex, blocksOf, blocksOfRow, ternaryAt } from "./ternary-codes.ts";
import type { WorkgroupOptions } from "./workgroup.ts";

/** What a specialization of {@link embedding} fixes. */
export interface EmbeddingOptions extends WorkgroupOptions {
  /** Element type of the table in memory; "ternary" is the interleaved block layout. */
  weight: DenseWeight | "ternary";
  /** Ternary with scales per group of `groupSize` weights along a row. */
  grouped: boolean;
}

/**
 * Row lookup out[row] = table[ids[row]], decoded to f32. An id outside 0..vocab-1 gives a row of NaN.
 * A dispatch has rows firstId..firstId+count-1 of the table and leaves what other rows of it give as it is.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param weights [count, width] from firstId on, as words, the lowest bits first
 * @param scales int8: f32[count]; ternary: f32[ceil(count/4)][groups][4], one group unless grouped; else never read
 * @param ids i32[rows]
 * @param out f32[rows, width], contiguous
 * @param vocab rows of the whole table
 * @param groupSize weights per group; never read unless grouped
 */
export function embedding(
  options: Static<EmbeddingOptions>,
  weights: Buffer<u32>,
  scales: Buffer<f32>,
  ids: Buffer<i32>,
  out: Buffer<f32>,
  rows: i32,
  vocab: i32,
  width: i32,
  groupSize: i32,
  firstId: i32,
  count: i32,
): void {
  const groups: i32 = options.grouped ? (width + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : width;
  const groupBlocks = blocksOf(groupLength);
  const blocks = blocksOfRow(width, groups, groupLength);

  const value = (id: i32, i: i32): f32 => {
    if (options.weight === "ternary") {
      const g = i / groupLength;
      const w = ternaryAt(weights, id, blocks, ((g * groupBlocks) << 6) + i - g * groupLength);
      return w * scales[blockIndex(id, g, groups)]!;
    }
    const w = decodeAt(options.weight, weights, id * width + i);
    return options.weight === "int8" ? w * scales[id]! : w;
  };

  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const id = ids[row]!;
    const known = id >= 0 && id < vocab;
    if (!known || (id >= firstId && id < firstId + count)) {
      for (let i = localId(); i < width; i += options.workgroupSize) {
        const found = bits.f32ToU32(value(select(known, id - firstId, 0), i));
        out[row * width + i] = bits.u32ToF32(select(known, found, 0x7fc00000));
      }
    }
  }
}
