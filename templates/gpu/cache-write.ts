import {
  type Buffer,
  type f32,
  type i32,
  localId,
  type Static,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";

export interface CacheWriteOptions {
  workgroupSize: number;
}

/**
 * Copies new key or value rows into their places in the cache, in place. A row outside the capacity is
 * dropped.
 *
 * Grid: an invocation takes an element, then every (workgroupCount * workgroupSize)-th of the rows * width.
 *
 * @param cache f32[slots, capacity, width], width = kvHeads * dim
 * @param x f32[batch, seq, width] with xStride elements between (batch, seq) rows
 * @param slots i32[batch], the cache slot of each sequence
 * @param positions i32[batch], where row 0 of each sequence goes
 * @param rows batch * seq
 */
export function cacheWrite(
  options: Static<CacheWriteOptions>,
  cache: Buffer<f32>,
  x: Buffer<f32>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  rows: i32,
  seq: i32,
  capacity: i32,
  width: i32,
  xStride: i32,
): void {
  const stride = workgroupCount() * options.workgroupSize;
  for (let i = workgroupId() * options.workgroupSize + localId(); i < rows * width; i += stride) {
    const row = i / width;
    const column = i % width;
    const batch = row / seq;
    const position = positions[batch]! + (row % seq);
    if (position >= 0 && position < capacity) {
      cache[(slots[batch]! * capacity + position) * width + column] = x[row * xStride + column]!;
    }
  }
}
