import { type Buffer, bits, type f32, f32x4, type i32, select, v128 } from "bitloom/kernel";

/** Columns of one work item: a cache line. */
const ITEM_COLUMNS = 16;

/**
 * Adds row r of g to row ids[r] of a table that starts from zero. Threads share columns, not rows, so that ids may
 * repeat. An id outside 0..vocabulary-1 makes its columns of row 0 NaN.
 *
 * @param g f32[rows, width] with gStride elements between rows
 * @param ids i32[rows]
 * @param out f32[vocabulary, width], contiguous
 * @param begin first item; an item is 16 columns, ceil(width/16) in all
 * @param end one past the last item
 */
export function embeddingGradient(
  g: Buffer<f32>,
  ids: Buffer<i32>,
  out: Buffer<f32>,
  rows: i32,
  vocabulary: i32,
  width: i32,
  gStride: i32,
  begin: i32,
  end: i32,
): void {
  for (let item = begin; item < end; item++) {
    const first = item * ITEM_COLUMNS;
    const last = select(first + ITEM_COLUMNS < width, first + ITEM_COLUMNS, width);
    const whole = first + ((last - first) & -4);
    for (let id: i32 = 0; id < vocabulary; id++) {
      for (let i = first; i < whole; i += 4) v128.store(out, id * width + i, f32x4.splat(0));
      for (let i = whole; i < last; i++) out[id * width + i] = 0;
    }
    for (let row: i32 = 0; row < rows; row++) {
      const id = ids[row]!;
      if (id < 0 || id >= vocabulary) {
        for (let i = first; i < last; i++) out[i] = bits.i32ToF32(0x7fc00000);
      } else {
        const to = id * width;
        const from = row * gStride;
        for (let i = first; i < whole; i += 4) {
          v128.store(out, to + i, f32x4.add(v128.load(out, to + i), v128.load(g, from + i)));
        }
        for (let i = whole; i < last; i++) out[to + i] = out[to + i]! + g[from + i]!;
      }
    }
  }
}
