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
import { floatTile } from "./float-tile.ts";
import type { OutputOptions } from "./output.ts";
import { blockIndex, blocksOf, blocksOfRow, ternaryAt } from "./ternary-codes.ts";
import { type TileOptions, tileHeight, tileWidth } from "./tile.ts";

/** What a specialization of {@link ternaryDenseGemm} fixes. */
export interface TernaryDenseGemmOptions extends TileOptions, OutputOptions {
  /** Scales per group of `groupSize` weights along K, instead of one per output column. */
  grouped: boolean;
}

/**
 * f32 activations times ternary weights for many rows:
 * out[row, column] = epilogue(sum_g scale_g * sum_{k in g} x[row, k] * w[column, k]).
 *
 * Grid: x = ceil(columns / tile width), y = ceil(m / tile height).
 *
 * @param codes packed ternary weights of the columns from firstColumn on, as words
 * @param scales f32[ceil(columns/4)][groups][4], one group unless grouped
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param groupSize weights per group; never read unless grouped
 * @param firstColumn where this dispatch's columns start, a multiple of 4; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function ternaryDenseGemm(
  options: Static<TernaryDenseGemmOptions>,
  codes: Buffer<u32>,
  scales: Buffer<f32>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  xStride: i32,
  firstColumn: i32,
  columns: i32,
): void {
  const rowBase = workgroupIdY() * tileHeight(options);
  const columnBase = workgroupId() * tileWidth(options);
  const groups: i32 = options.grouped ? (k + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : k;
  const groupBlocks = blocksOf(groupLength);
  const blocks = blocksOfRow(k, groups, groupLength);
  floatTile(
    options,
    k,
    (tileRow: i32, i: i32): f32 => {
      const row = rowBase + tileRow;
      return x[select(row < m, row, m - 1) * xStride + i]!;
    },
    (tileColumn: i32, i: i32): f32 => {
      const column = select(columnBase + tileColumn < columns, columnBase + tileColumn, columns - 1);
      const g = i / groupLength;
      const w = ternaryAt(codes, column, blocks, ((g * groupBlocks) << 6) + i - g * groupLength);
      // 0 or the scale itself: the product is exact.
      return w * scales[blockIndex(column, g, groups)]!;
    },
    (acc: f32, tileRow: i32, tileColumn: i32) => {
      const row = rowBase + tileRow;
      const column = columnBase + tileColumn;
      if (row < m && column < columns) {
        out[row * n + firstColumn + column] = options.epilogue(acc, row, firstColumn + column);
      }
    },
  );
}
