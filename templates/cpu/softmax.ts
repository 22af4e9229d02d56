import type { Buffer, f32, i32, Static, v128 } from "bitloom/kernel";

/** What a specialization of {@link softmax} fixes. */
export interface SoftmaxOptions {
  /** Call `prologue4` four columns at a time, `prologue` for the rest. */
  vector: boolean;
  /** The value at (row, column). */
  prologue: (row: i32, column: i32) => f32;
  /** The values at columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  prologue4: (row: i32, column: i32) => v128;
}

/**
 * Softmax of rows: out = exp(x - max x) / sum exp(x - max x), x = prologue.
 *
 * @param out f32[rows, k], contiguous; may be the buffer that the prologue reads at the same (row, column)
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function softmax(
  options: Static<SoftmaxOptions>,
  out: Buffer<f32>,
  k: i32,
  begin: i32,
  end: i32,
): void {}
