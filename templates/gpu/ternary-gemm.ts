import {
  type Buffer,
  component,
  convert,
  dot4I8Packed,
  type f32,
  type i32,
  type Registers,
  registers,
  type Static,
  select,
  shared,
  u32x4,
  unroll,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import type { OutputOptions } from "./output.ts";
import { blockIndex, blocksOf, blocksOfRow, loadUnaligned, signedCodes } from "./ternary-codes.ts";
import { eachResult, stagedLength, type TileOptions, tileHeight, tileStep, tileWidth } from "./tile.ts";

/** What a specialization of {@link ternaryGemm} fixes. */
export interface TernaryGemmOptions extends TileOptions, OutputOptions {
  /** Scales per group of `groupSize` weights along K, instead of none. */
  grouped: boolean;
  /** With groups: groupSize is a multiple of 16, so that activations load 16 bytes at a time. */
  aligned: boolean;
}

/**
 * Ternary matrix multiplication for many rows, out[row, column] = epilogue(sum_k q[row, k] * w[column, k]).
 *
 * A workgroup computes a tile of rows and columns. Of each 64 of K it brings the activations and the weights, as
 * signed bytes, to shared memory; each invocation multiplies edge rows with edge columns of them. Sums are exact
 * i32; with groups the accumulator is the f32 sum over groups, ascending, of f32(sum of the group) * scale.
 *
 * Grid: x = ceil(columns / tile width), y = ceil(m / tile height).
 *
 * @param codes packed ternary weights of the columns from firstColumn on
 * @param activations i8[m, kPadded], kPadded = ceil(k/64)*64, zero tail; 64 bytes of slack when grouped
 * @param scales f32[ceil(columns/4)][ceil(k/groupSize)][4] when grouped; otherwise never read
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param groupSize weights per group; never read unless grouped
 * @param firstColumn where this dispatch's columns start, a multiple of 4; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function ternaryGemm(
  options: Static<TernaryGemmOptions>,
  codes: Buffer<u32x4>,
  activations: Buffer<u32x4>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  firstColumn: i32,
  columns: i32,
): void {
  const { edge } = options;
  const stagedRows = shared<u32x4>(stagedLength(tileHeight(options)));
  const stagedColumns = shared<u32x4>(stagedLength(tileWidth(options)));
  const rowBase = workgroupIdY() * tileHeight(options);
  const columnBase = workgroupId() * tileWidth(options);
  const stride = ((k + 63) >> 6) << 6;
  const paddedColumns = ((columns + 3) >> 2) << 2;
  const groups: i32 = options.grouped ? (k + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : k;
  const blocks = blocksOfRow(k, groups, groupLength);
  const groupBlocks = blocksOf(groupLength);
  // Rows and columns past the last repeat it; their results are dropped.
  const weightRow = (column: i32): i32 => {
    const at = columnBase + column;
    return select(at < paddedColumns, at, paddedColumns - 1);
  };

  const none: i32 = 0;
  const zero: f32 = 0;
  const acc = registers(edge * edge, none);
  const totals = registers(options.grouped ? edge * edge : 0, zero);
  for (let g: i32 = 0; g < groups; g++) {
    const first = g * groupBlocks;
    const last = select(g + 1 < groups, first + groupBlocks, blocks);
    for (let block = first; block < last; block++) {
      const start = g * groupLength + ((block - first) << 6);
      const fetchRow = (row: i32, quarter: i32): u32x4 => {
        const valid = select(rowBase + row < m, rowBase + row, m - 1);
        const at = valid * stride + start + 16 * quarter;
        if (options.grouped && !options.aligned) return loadUnaligned(activations, at);
        return activations[at >> 4]!;
      };
      const fetchColumn = (column: i32, quarter: i32): u32x4 => {
        const packed = codes[blockIndex(weightRow(column), block, blocks)]!;
        return u32x4(
          signedCodes(packed.x, quarter),
          signedCodes(packed.y, quarter),
          signedCodes(packed.z, quarter),
          signedCodes(packed.w, quarter),
        );
      };
      const multiply = (a: Registers<u32x4>, w: Registers<u32x4>): void => {
        for (const j of unroll(4)) {
          for (const r of unroll(edge)) {
            for (const c of unroll(edge)) {
              const i = r * edge + c;
              acc[i] = acc[i]! + dot4I8Packed(component(a[r]!, j), component(w[c]!, j));
            }
          }
        }
      };
      tileStep(options, stagedRows, stagedColumns, fetchRow, fetchColumn, multiply);
    }
    if (options.grouped) {
      eachResult(options, (_row: i32, column: i32, i: number) => {
        const scale = scales[blockIndex(weightRow(column), g, groups)]!;
        totals[i] = totals[i]! + convert.i32ToF32(acc[i]!) * scale;
        acc[i] = 0;
      });
    }
  }

  eachResult(options, (tileRow: i32, tileColumn: i32, i: number) => {
    const row = rowBase + tileRow;
    const column = columnBase + tileColumn;
    if (row < m && column < columns) {
      const result = options.grouped ? totals[i]! : acc[i]!;
      out[row * n + firstColumn + column] = options.epilogue(result, row, firstColumn + column);
    }
  });
}
