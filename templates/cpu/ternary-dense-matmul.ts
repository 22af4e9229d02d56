import type { Buffer, f32, i32, Static, u8, v128 } from "bitloom/kernel";

/** What a specialization of {@link ternaryDenseMatmul} fixes. */
export interface TernaryDenseMatmulOptions {
  /** Scales per group of `groupSize` weights along K, instead of one per output column. */
  grouped: boolean;
  /** Rows of x per pass over the weights: 1 or 4. Any m works with either. */
  tileRows: number;
  /** Call `epilogue4` for whole groups of four columns, `epilogue` for the rest. */
  vector: boolean;
  /** Turns the f32 accumulator (scales included) of output (row, column) into the stored value. */
  epilogue: (acc: f32, row: i32, column: i32) => f32;
  /** The same for columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  epilogue4: (acc: v128, row: i32, column: i32) => v128;
}

/**
 * f32 activations times ternary weights: out[row, column] = epilogue(sum_g scale_g * sum_{k in g} x[row, k] * w[column, k]).
 *
 * @param codes packed ternary weights [n, k] in the interleaved block layout
 * @param scales f32[ceil(n/4)*4] ungrouped, f32[ceil(k/groupSize)][ceil(n/4)*4] grouped
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param groupSize weights per group; never read unless grouped
 * @param begin first item; an item is a group of 4 output columns, ceil(n/4) in all
 * @param end one past the last item
 */
export function ternaryDenseMatmul(
  options: Static<TernaryDenseMatmulOptions>,
  codes: Buffer<u8>,
  scales: Buffer<f32>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  xStride: i32,
  begin: i32,
  end: i32,
): void {}
