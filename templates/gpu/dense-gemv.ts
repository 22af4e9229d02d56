import {
  type Buffer,
  type f32,
  type i32,
  localId,
  registers,
  type Static,
  select,
  shared,
  type u32,
  unroll,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import { type DenseWeight, decode, decodeAt, perWord } from "./dense-weights.ts";
import type { OutputOptions } from "./output.ts";
import { workgroupSums } from "./partials.ts";
import type { WorkgroupOptions } from "./workgroup.ts";

/** What a specialization of {@link denseGemv} fixes. */
export interface DenseGemvOptions extends WorkgroupOptions, OutputOptions {
  /** Element type of the weights in memory. */
  weight: DenseWeight;
  /** Rows of weights start at whole words: k * bytes per element is a multiple of 4. Always for f32. */
  aligned: boolean;
  /** Output columns of a workgroup. More of them read x less often. */
  tileColumns: 1 | 2 | 4 | 8;
  /** Rows of x of a workgroup. Any m works with any. */
  tileRows: 1 | 2 | 4;
}

/**
 * Dense matrix multiplication for few rows in f32, out[row, column] = epilogue(sum_k x[row, k] * w[column, k]),
 * bound by reading the weights once. int8 weights multiply as they are and the finished sum by its column's scale.
 *
 * Neighbouring invocations take neighbouring words of a row of weights.
 *
 * Grid: x = ceil(columns / tileColumns), y = ceil(m / tileRows).
 *
 * @param weights [columns, k] row-major from firstColumn on, as words of 1, 2 or 4 elements, the lowest bits first
 * @param scales f32[columns], int8 only; otherwise never read
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param firstColumn where this dispatch's columns start; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function denseGemv(
  options: Static<DenseGemvOptions>,
  weights: Buffer<u32>,
  scales: Buffer<f32>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  xStride: i32,
  firstColumn: i32,
  columns: i32,
): void {
  const { tileRows, tileColumns, weight, workgroupSize } = options;
  const results = tileRows * tileColumns;
  const elements = options.aligned ? perWord(weight) : 1;
  const words = options.aligned ? k / perWord(weight) : k;
  const zero: f32 = 0;
  const none: i32 = 0;
  // Rows and columns past the last repeat it; their results are dropped.
  const rowStart = registers(tileRows, none);
  for (const r of unroll(tileRows)) {
    const row = workgroupIdY() * tileRows + r;
    rowStart[r] = select(row < m, row, m - 1) * xStride;
  }
  const columnStart = registers(tileColumns, none);
  for (const c of unroll(tileColumns)) {
    const column = workgroupId() * tileColumns + c;
    columnStart[c] = select(column < columns, column, columns - 1) * words;
  }

  const acc = registers(results, zero);
  const xs = registers(tileRows * elements, zero);
  for (let word = localId(); word < words; word += workgroupSize) {
    for (const r of unroll(tileRows)) {
      for (const e of unroll(elements)) xs[r * elements + e] = x[rowStart[r]! + word * elements + e]!;
    }
    for (const c of unroll(tileColumns)) {
      const at = columnStart[c]! + word;
      if (options.aligned) {
        const packed = weights[at]!;
        for (const e of unroll(elements)) {
          const w = decode(weight, packed, e);
          for (const r of unroll(tileRows)) {
            const i = r * tileColumns + c;
            acc[i] = acc[i]! + xs[r * elements + e]! * w;
          }
        }
      } else {
        const w = decodeAt(weight, weights, at);
        for (const r of unroll(tileRows)) {
          const i = r * tileColumns + c;
          acc[i] = acc[i]! + xs[r]! * w;
        }
      }
    }
  }

  const slots = shared<f32>(results * workgroupSize);
  workgroupSums(options, 1, results, slots, acc, (sum: f32, i: i32, _lane: i32) => {
    const row = workgroupIdY() * tileRows + i / tileColumns;
    const column = workgroupId() * tileColumns + (i % tileColumns);
    if (row < m && column < columns) {
      let value = sum;
      if (weight === "int8") value = sum * scales[column]!;
      out[row * n + firstColumn + column] = options.epilogue(value, row, firstColumn + column);
    }
  });
}
