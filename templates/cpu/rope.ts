import type { Buffer, f32, i32, Static } from "bitloom/kernel";

/** {@link rope} has no variants. */
export type RopeOptions = Record<string, never>;

/**
 * Rotary position embedding on NeoX halves: lanes i and i + dim/2 of a head rotate by the angle of table row
 * positions[batch] + t.
 *
 * @param x f32[batch, seq, heads, dim] with xStride elements between (batch, seq) rows
 * @param cos f32[length, dim/2]
 * @param sin f32[length, dim/2]
 * @param positions i32[batch]; row indices are clamped to the table
 * @param out f32[batch, seq, heads, dim], contiguous; may be x when xStride = heads * dim
 * @param begin first item; an item is a (batch, seq) row, batch * seq in all
 * @param end one past the last item
 */
export function rope(
  options: Static<RopeOptions>,
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
): void {}
