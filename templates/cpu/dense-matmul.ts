import type { Buffer, f32, i32, Static, u8, v128 } from "bitloom/kernel";

/** What a specialization of {@link denseMatmul} fixes. */
export interface DenseMatmulOptions {
  /** Element type of the weights in memory. */
  weight: "f32" | "f16" | "bf16" | "int8";
  /** Rows of x per pass over the weights: 1 or 4. Any m works with either. */
  tileRows: number;
  /** Call `epilogue4` for whole groups of four columns, `epilogue` for the rest. */
  vector: boolean;
  /** Turns the f32 accumulator (int8: scale included) of output (row, column) into the stored value. */
  epilogue: (acc: f32, row: i32, column: i32) => f32;
  /** The same for columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  epilogue4: (acc: v128, row: i32, column: i32) => v128;
}

/**
 * Dense matrix multiplication out[row, column] = epilogue(sum_k x[row, k] * w[column, k]) in f32.
 *
 * @param weights [n, k] row-major, seen as bytes; int8 has 16 bytes of slack
 * @param scales f32[n], int8 only; otherwise never read
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param begin first item; an item is a group of 4 output columns, ceil(n/4) in all
 * @param end one past the last item
 */
export function denseMatmul(
  options: Static<DenseMatmulOptions>,
  weights: Buffer<u8>,
  scales: Buffer<f32>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  xStride: i32,
  begin: i32,
  end: i32,
): void {}
