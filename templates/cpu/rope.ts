import { type Buffer, type f32, f32x4, type i32, select, v128 } from "bitloom/kernel";

/**
 * Rotary position embedding on NeoX halves: lanes i and i + dim/2 of a head rotate by the angle of table row
 * positions[batch] + t.
 *
 * @param x f32[batch, seq, heads, dim] with xStride elements between (batch, seq) rows
 * @param cos f32[length, dim/2]
 * @param sin f32[length, dim/2]
 * @param positions i32[batch]; rows outside the table are clamped to it
 * @param out f32[batch, seq, heads, dim], contiguous; may be x when xStride = heads * dim
 * @param begin first item; an item is a (batch, seq) row, batch * seq in all
 * @param end one past the last item
 */
export function rope(
  x: Buffer<f32>,
  cos: Buffer<f32>,
  sin: Buffer<f32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  seq: i32,
  heads: i32,
  dim: i32,
  length: i32,
  xStride: i32,
  begin: i32,
  end: i32,
): void {
  const half = dim >> 1;
  const whole = half & -4;
  for (let row = begin; row < end; row++) {
    const position = positions[row / seq]! + (row % seq);
    const clamped = select(position < length, position, length - 1);
    const table = select(clamped < 0, 0, clamped) * half;
    for (let head: i32 = 0; head < heads; head++) {
      const from = row * xStride + head * dim;
      const to = (row * heads + head) * dim;
      for (let i: i32 = 0; i < whole; i += 4) {
        const c = v128.load(cos, table + i);
        const s = v128.load(sin, table + i);
        const low = v128.load(x, from + i);
        const high = v128.load(x, from + half + i);
        v128.store(out, to + i, f32x4.sub(f32x4.mul(low, c), f32x4.mul(high, s)));
        v128.store(out, to + half + i, f32x4.add(f32x4.mul(high, c), f32x4.mul(low, s)));
      }
      for (let i = whole; i < half; i++) {
        const c = cos[table + i]!;
        const s = sin[table + i]!;
        const low = x[from + i]!;
        const high = x[from + half + i]!;
        out[to + i] = low * c - high * s;
        out[to + half + i] = high * c + low * s;
      }
    }
  }
}
