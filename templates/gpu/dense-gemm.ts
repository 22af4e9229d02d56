import {
  type Buffer,
  type f32,
  type i32,
  type Static,
  select,
  type u32,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import { type DenseWeight, decodeAt } from "./dense-weights.ts";
import { floatTile } from "./float-tile.ts";
import type { OutputOptions } from "./output.ts";
import { type TileOptions, tileHeight, tileWidth } from "./tile.ts";

/** What a specialization of {@link denseGemm} fixes. */
export interface DenseGemmOptions extends TileOptions, OutputOptions {
  /** Element type of the weights in memory. */
  weight: DenseWeight;
}

/**
 * Dense matrix multiplication for many rows in f32, out[row, column] = epilogue(sum_k x[row, k] * w[column, k]).
 * int8 weights multiply as they are and the finished sum by its column's scale.
 *
 * Grid: x = ceil(columns / tile width), y = ceil(m / tile height).
 *
 * @param weights [columns, k] row-major from firstColumn on, as words of 1, 2 or 4 elements, the lowest bits first
 * @param scales f32[columns], int8 only; otherwise never read
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param firstColumn where this dispatch's columns start; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function denseGemm(
  options: Static<DenseGemmOptions>,
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
  const rowBase = workgroupIdY() * tileHeight(options);
  const columnBase = workgroupId() * tileWidth(options);
  floatTile(
    options,
    k,
    (tileRow: i32, i: i32): f32 => {
      const row = rowBase + tileRow;
      return x[select(row < m, row, m - 1) * xStride + i]!;
    },
    (tileColumn: i32, i: i32): f32 => {
      const column = columnBase + tileColumn;
      return decodeAt(options.weight, weights, select(column < columns, column, columns - 1) * k + i);
    },
    (acc: f32, tileRow: i32, tileColumn: i32) => {
      const row = rowBase + tileRow;
      const column = columnBase + tileColumn;
      if (row < m && column < columns) {
        let value = acc;
        if (options.weight === "int8") value = acc * scales[column]!;
        out[row * n + firstColumn + column] = options.epilogue(value, row, firstColumn + column);
      }
    },
  );
}
