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
import { blockIndex, blocksOf, blocksOfRow, ternaryAt } from "./ternary-codes.ts";
import { type TileOptions, tileHeight, tileWidth } from "./tile.ts";

/** What a specialization of {@link outerGemm} fixes. */
export interface OuterGemmOptions extends TileOptions {
  /** Element type of b in memory; "ternary" is the interleaved block layout. */
  b: DenseWeight | "ternary";
  /** Ternary with scales per group of `groupSize` columns. */
  grouped: boolean;
}

/**
 * out = a @ b in f32 with b row-major along the columns of out: what gradients of linear layers are. For dx = g @ W,
 * a is g [rows, N] and b the weight [N, K]; for dW = g^T @ x, a is g read by columns and b the activations [rows, K].
 * A dispatch takes rows first..first+p-1 of b, and adds to what is in out unless these are the first.
 *
 * Grid: x = ceil(n / tile width), y = ceil(m / tile height).
 *
 * @param a f32, element (i, l) at i * aRow + l * aColumn
 * @param b row first + l at l * bStride elements, as words of 1, 2 or 4 elements, the lowest bits first; ternary: packed
 * codes of n columns; each from row `first` on
 * @param scales of the same rows; int8: f32[p]; ternary: f32[ceil(p/4)][groups][4], one group unless grouped; else never
 * read
 * @param out f32[m, n], contiguous
 * @param groupSize columns per group; never read unless grouped
 */
export function outerGemm(
  options: Static<OuterGemmOptions>,
  a: Buffer<f32>,
  b: Buffer<u32>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  p: i32,
  first: i32,
  aRow: i32,
  aColumn: i32,
  bStride: i32,
  groupSize: i32,
): void {
  const rowBase = workgroupIdY() * tileHeight(options);
  const columnBase = workgroupId() * tileWidth(options);
  const groups: i32 = options.grouped ? (n + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : n;
  const groupBlocks = blocksOf(groupLength);
  const blocks = blocksOfRow(n, groups, groupLength);
  floatTile(
    options,
    p,
    (tileRow: i32, l: i32): f32 => {
      const row = rowBase + tileRow;
      return a[select(row < m, row, m - 1) * aRow + (first + l) * aColumn]!;
    },
    (tileColumn: i32, l: i32): f32 => {
      const column = select(columnBase + tileColumn < n, columnBase + tileColumn, n - 1);
      if (options.b === "ternary") {
        const g = column / groupLength;
        const w = ternaryAt(b, l, blocks, ((g * groupBlocks) << 6) + column - g * groupLength);
        // 0 or the scale itself: the product is exact.
        return w * scales[blockIndex(l, g, groups)]!;
      }
      const value = decodeAt(options.b, b, l * bStride + column);
      return options.b === "int8" ? value * scales[l]! : value;
    },
    (acc: f32, tileRow: i32, tileColumn: i32) => {
      const row = rowBase + tileRow;
      const column = columnBase + tileColumn;
      if (row < m && column < n) {
        const at = row * n + column;
        let sum = acc;
        if (first > 0) sum = sum + out[at]!;
        out[at] = sum;
      }
    },
  );
}
