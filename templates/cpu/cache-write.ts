import type { Buffer, f32, i32, Static } from "bitloom/kernel";

/** {@link cacheWrite} has no variants. */
export type CacheWriteOptions = Record<string, never>;

/**
 * Copies new key or value rows into their places in the cache, in place. A row past the capacity is dropped.
 *
 * @param cache f32[slots, capacity, width], width = kvHeads * dim
 * @param x f32[batch, seq, width] with xStride elements between (batch, seq) rows
 * @param slots i32[batch], the cache slot of each sequence
 * @param positions i32[batch], where row 0 of each sequence goes
 * @param begin first item; an item is a (batch, seq) row, batch * seq in all
 * @param end one past the last item
 */
export function cacheWrite(
  options: Static<CacheWriteOptions>,
  cache: Buffer<f32>,
  x: Buffer<f32>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  seq: i32,
  capacity: i32,
  width: i32,
  xStride: i32,
  begin: i32,
  end: i32,
): void {}
