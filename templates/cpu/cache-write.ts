import { type Buffer, type f32, type i32, v128 } from "bitloom/kernel";

/**
 * Copies new key or value rows into their places in the cache, in place. A row outside the capacity is
 * dropped.
 *
 * @param cache f32[slots, capacity, width], width = kvHeads * dim
 * @param x f32[batch, seq, width] with xStride elements between (batch, seq) rows
 * @param slots i32[batch], the cache slot of each sequence
 * @param positions i32[batch], where row 0 of each sequence goes
 * @param begin first item; an item is a (batch, seq) row, batch * seq in all
 * @param end one past the last item
 */
export function cacheWrite(
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
): void {
  const whole = width & -4;
  for (let row = begin; row < end; row++) {
    const batch = row / seq;
    const position = positions[batch]! + (row % seq);
    if (position >= 0 && position < capacity) {
      const from = row * xStride;
      const to = (slots[batch]! * capacity + position) * width;
      for (let i: i32 = 0; i < whole; i += 4) v128.store(cache, to + i, v128.load(x, from + i));
      for (let i = whole; i < width; i++) cache[to + i] = x[from + i]!;
    }
  }
}
