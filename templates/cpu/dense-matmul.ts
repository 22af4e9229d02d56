import {
  type Buffer,
  type f32,
  f32x4,
  type i32,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import { type DenseWeight, decode1, decode8, prepareDecode } from "./decode.ts";
import { highHalves, lowHalves, sumF32x4 } from "./lanes.ts";
import { type OutputOptions, storeColumns } from "./store-columns.ts";

/** What a specialization of {@link denseMatmul} fixes. */
export interface DenseMatmulOptions extends OutputOptions {
  /** Element type of the weights in memory. */
  weight: DenseWeight;
  /** Rows of x per pass over the weights: 1 or 4. Any m works with either. */
  tileRows: 1 | 4;
}

/**
 * Dense matrix multiplication out[row, column] = epilogue(sum_k x[row, k] * w[column, k]) in f32.
 * int8 weights multiply as they are and the finished sum by its column's scale.
 *
 * @param weights [n, k] row-major, seen as bytes
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
): void {
  const zero = f32x4.splat(0);
  const constants = registers(4, zero);
  prepareDecode(options.weight, constants);
  const whole = k & -8;

  const finish = (total: v128, row: i32, column: i32): void => {
    let acc = total;
    if (options.weight === "int8") {
      const scale = registers(1, zero);
      for (const c of unroll(4)) {
        const last = select(column + c < n, column + c, n - 1);
        scale[0] = f32x4.replaceLane(scale[0]!, c, scales[last]!);
      }
      acc = f32x4.mul(total, scale[0]!);
    }
    storeColumns(options, "f32", out, acc, row, column, n);
  };

  for (let item = begin; item < end; item++) {
    const column = item << 2;
    // Columns and rows past the last repeat it; their results are dropped.
    const at = registers(4, column);
    for (const c of unroll(4)) at[c] = select(column + c < n, column + c, n - 1) * k;

    if (options.tileRows === 1) {
      for (let row: i32 = 0; row < m; row++) {
        const xRow = row * xStride;
        const acc = registers(8, zero);
        const w = registers(2, zero);
        for (let i: i32 = 0; i < whole; i += 8) {
          const x0 = v128.load(x, xRow + i);
          const x1 = v128.load(x, xRow + i + 4);
          for (const c of unroll(4)) {
            decode8(options.weight, constants, weights, at[c]! + i, w);
            acc[2 * c] = f32x4.add(acc[2 * c]!, f32x4.mul(x0, w[0]!));
            acc[2 * c + 1] = f32x4.add(acc[2 * c + 1]!, f32x4.mul(x1, w[1]!));
          }
        }
        for (let i = whole; i < k; i++) {
          const xi = v128.load32Zero(x, xRow + i);
          for (const c of unroll(4)) {
            acc[2 * c] = f32x4.add(
              acc[2 * c]!,
              f32x4.mul(xi, decode1(options.weight, constants, weights, at[c]! + i)),
            );
          }
        }
        for (const c of unroll(4)) acc[2 * c] = f32x4.add(acc[2 * c]!, acc[2 * c + 1]!);
        finish(sumF32x4(acc[0]!, acc[2]!, acc[4]!, acc[6]!), row, column);
      }
    } else {
      for (let row: i32 = 0; row < m; row += 4) {
        const xRow = registers(4, row);
        for (const r of unroll(4)) xRow[r] = select(row + r < m, row + r, m - 1) * xStride;
        // totals[2 * half + pair]: rows 2 * pair, 2 * pair + 1 and columns 2 * half, 2 * half + 1.
        const totals = registers(4, zero);
        for (const half of unroll(2)) {
          const acc = registers(8, zero);
          const w0 = registers(2, zero);
          const w1 = registers(2, zero);
          const from = registers(4, row);
          for (const r of unroll(4)) from[r] = xRow[r]!;
          const addFour = (offset: number, even: v128, odd: v128): void => {
            for (const r of unroll(4)) {
              const xi = v128.load(x, from[r]! + offset);
              acc[2 * r] = f32x4.add(acc[2 * r]!, f32x4.mul(xi, even));
              acc[2 * r + 1] = f32x4.add(acc[2 * r + 1]!, f32x4.mul(xi, odd));
            }
          };
          for (let i: i32 = 0; i < whole; i += 8) {
            decode8(options.weight, constants, weights, at[2 * half]! + i, w0);
            decode8(options.weight, constants, weights, at[2 * half + 1]! + i, w1);
            addFour(0, w0[0]!, w1[0]!);
            // Never taken, but engines that order instructions themselves keep fewer values alive across it.
            if (i > whole) break;
            addFour(4, w0[1]!, w1[1]!);
            for (const r of unroll(4)) from[r] = from[r]! + 8;
          }
          for (let i = whole; i < k; i++) {
            w0[0] = decode1(options.weight, constants, weights, at[2 * half]! + i);
            w1[0] = decode1(options.weight, constants, weights, at[2 * half + 1]! + i);
            for (const r of unroll(4)) {
              const xi = v128.load32Zero(x, xRow[r]! + i);
              acc[2 * r] = f32x4.add(acc[2 * r]!, f32x4.mul(xi, w0[0]!));
              acc[2 * r + 1] = f32x4.add(acc[2 * r + 1]!, f32x4.mul(xi, w1[0]!));
            }
          }
          for (const pair of unroll(2)) {
            totals[2 * half + pair] = sumF32x4(
              acc[4 * pair]!,
              acc[4 * pair + 1]!,
              acc[4 * pair + 2]!,
              acc[4 * pair + 3]!,
            );
          }
        }
        for (const pair of unroll(2)) {
          const even = row + 2 * pair;
          if (even < m) finish(lowHalves(totals[pair]!, totals[2 + pair]!), even, column);
          if (even + 1 < m) finish(highHalves(totals[pair]!, totals[2 + pair]!), even + 1, column);
        }
      }
    }
  }
}
