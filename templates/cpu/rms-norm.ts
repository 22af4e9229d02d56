import type { Buffer, f32, i32, Static, v128 } from "bitloom/kernel";

/** What a specialization of {@link rmsNorm} fixes. */
export interface RmsNormOptions {
  /** Call `prologue4` four columns at a time, `prologue` for the rest. */
  vector: boolean;
  /** The value at (row, column). */
  prologue: (row: i32, column: i32) => f32;
  /** The values at columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  prologue4: (row: i32, column: i32) => v128;
}

/**
 * Root mean square normalization of rows: out = weight * (x * (1 / sqrt(mean(x^2) + eps))), x = prologue.
 *
 * @param weight f32[k]
 * @param out f32[rows, k], contiguous; may be the buffer that the prologue reads at the same (row, column)
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function rmsNorm(
  options: Static<RmsNormOptions>,
  weight: Buffer<f32>,
  out: Buffer<f32>,
  k: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {}
