import type { Buffer, f32, i8, i16, i32, Static, u8, v128 } from "bitloom/kernel";

/** What a specialization of {@link ternaryMatmul} fixes. */
export interface TernaryMatmulOptions {
  /** Use `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
  relaxed: boolean;
  /** Scales per group of `groupSize` weights along K, instead of none. */
  grouped: boolean;
  /** Activation rows per pass over the weights: 1 (GEMV) or 4 (GEMM). Any m works with either. */
  tileRows: number;
  /** Call `epilogue4` for whole groups of four columns, `epilogue` for the rest. */
  vector: boolean;
  /**
   * Turns the accumulator of output (row, column) into the stored f32. `acc` is i32 ungrouped, f32 grouped.
   * `bits.i32ToF32(acc)` stores the raw i32.
   */
  epilogue: (acc: number, row: i32, column: i32) => f32;
  /** The same for columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  epilogue4: (acc: v128, row: i32, column: i32) => v128;
}

/**
 * Ternary matrix multiplication out[row, column] = epilogue(sum_k q[row, k] * w[column, k]).
 *
 * @param codes packed ternary weights [n, k] in the interleaved block layout, 16-byte aligned
 * @param activations i8[m, kPadded], row stride kPadded = ceil(k/64)*64, zero tail, 64 bytes of slack
 * @param sums i32[m], sum of each row's activation codes
 * @param scales f32[ceil(k/groupSize)][ceil(n/4)*4] when grouped; otherwise never read
 * @param out f32[m, n], contiguous
 * @param scratch per thread: tileRows * (kPadded + 64 * groups when grouped) i16, used only without `relaxed`
 * @param groupSize weights per group; never read unless grouped
 * @param begin first item; an item is a group of 4 output columns, ceil(n/4) in all
 * @param end one past the last item
 */
export function ternaryMatmul(
  options: Static<TernaryMatmulOptions>,
  codes: Buffer<u8>,
  activations: Buffer<i8>,
  sums: Buffer<i32>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<i16>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {}
