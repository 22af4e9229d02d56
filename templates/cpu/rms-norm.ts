import type { Buffer, f32, i32, Static } from "bitloom/kernel";
import { normalize } from "./normalize.ts";
import { evaluateRow, type RowOptions } from "./row-values.ts";

/**
 * Root mean square normalization of rows: out = weight * (x * (1 / sqrt(mean(x^2) + eps))), x = prologue.
 *
 * @param weight f32[k]
 * @param out f32[rows, k], contiguous; may be the buffer that the prologue reads at the same (row, column)
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function rmsNorm(
  options: Static<RowOptions>,
  weight: Buffer<f32>,
  out: Buffer<f32>,
  k: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {
  for (let row = begin; row < end; row++) {
    evaluateRow(options, out, row * k, row, k);
    normalize(out, row * k, weight, k, eps);
  }
}
