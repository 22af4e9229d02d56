import {
  type Buffer,
  component,
  convert,
  type f32,
  type i32,
  localId,
  registers,
  type Static,
  select,
  shared,
  subgroupId,
  subgroupLane,
  subgroupMatrixMultiply,
  type u32,
  u32x4,
  unroll,
  workgroupBarrier,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import type { OutputOptions } from "../gpu/output.ts";
import { blockIndex, blocksOf, signedCodes } from "../gpu/ternary-codes.ts";

/** What a specialization of {@link ternaryTensorGemm} fixes. */
export interface TernaryTensorGemmOptions extends OutputOptions {
  /** Invocations of a workgroup: whole warps, each with columns of its own. */
  workgroupSize: 64 | 128 | 256;
  /** Tiles of 16 rows of a workgroup; 4 * 16 * rowTiles is a multiple of the workgroup's size. */
  rowTiles: 1 | 2 | 4;
  /** Tiles of 8 columns of a warp. */
  columnTiles: 1 | 2 | 4;
}

/**
 * Ternary matrix multiplication for many rows on tensor cores, out[row, column] = epilogue(sum_k q[row, k] *
 * w[column, k]). Sums are exact i32; there are no groups.
 *
 * The order of k is free as long as rows and columns agree. Of a block of 64 bytes lane t of four takes bytes 16 t to
 * 16 t + 15 for two products of 32: one load for a row's activations, and of a column's weights field t of each word
 * of the block, which all four lanes load as it is packed. Activations go through shared memory, as all warps read
 * them; each step along k loads the next step's operands while it multiplies its own.
 *
 * Grid: x = ceil(columns / (workgroupSize / 32 * 8 * columnTiles)), y = ceil(m / (16 * rowTiles)).
 *
 * @param codes packed ternary weights of the columns from firstColumn on
 * @param activations i8[m, kPadded], kPadded = ceil(k/64)*64, zero tail
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param firstColumn where this dispatch's columns start, a multiple of 4; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function ternaryTensorGemm(
  options: Static<TernaryTensorGemmOptions>,
  codes: Buffer<u32x4>,
  activations: Buffer<u32x4>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  firstColumn: i32,
  columns: i32,
): void {
  const { workgroupSize, rowTiles, columnTiles } = options;
  const stagedLength = 4 * 16 * rowTiles;
  const copies = stagedLength / workgroupSize;
  const staged = shared<u32x4>(2 * stagedLength);
  const local = localId();
  const place = subgroupLane() >> 2;
  const quarter = subgroupLane() & 3;
  const rowBase = workgroupIdY() * (16 * rowTiles);
  const columnBase = (workgroupId() * (workgroupSize / 32) + subgroupId()) * (8 * columnTiles);
  const lastColumn = (((columns + 3) >> 2) << 2) - 1;
  const blocks = blocksOf(k);

  const none: u32 = 0;
  const zero = u32x4(none, none, none, none);
  const start: i32 = 0;
  const sums = registers(rowTiles, registers(columnTiles, zero));
  const nextRows = registers(copies, zero);
  const nextCodes = registers(columnTiles, zero);
  // Rows and columns past the last repeat it; their results are dropped.
  const rowStart = registers(copies, start);
  for (const c of unroll(copies)) {
    const row = rowBase + ((local + c * workgroupSize) >> 2);
    rowStart[c] = select(row < m, row, m - 1) * (4 * blocks) + (local & 3);
    nextRows[c] = activations[rowStart[c]!]!;
  }
  const codeStart = registers(columnTiles, start);
  for (const c of unroll(columnTiles)) {
    const column = columnBase + 8 * c + place;
    codeStart[c] = blockIndex(select(column < lastColumn, column, lastColumn), 0, blocks);
    nextCodes[c] = codes[codeStart[c]!]!;
  }

  let side: i32 = 0;
  for (let block: i32 = 0; block < blocks; block++) {
    // This side was last read two steps ago, before the barrier of the step between.
    for (const c of unroll(copies)) staged[side + local + c * workgroupSize] = nextRows[c]!;
    const weights = registers(columnTiles, registers(4, none));
    for (const c of unroll(columnTiles)) {
      for (const j of unroll(4)) weights[c]![j] = signedCodes(component(nextCodes[c]!, j), quarter);
    }
    workgroupBarrier();
    const next = select(block + 1 < blocks, block + 1, block);
    for (const c of unroll(copies)) nextRows[c] = activations[rowStart[c]! + 4 * next]!;
    for (const c of unroll(columnTiles)) nextCodes[c] = codes[codeStart[c]! + 4 * next]!;
    for (const r of unroll(rowTiles)) {
      const upper = staged[side + 4 * (16 * r + place) + quarter]!;
      const lower = staged[side + 4 * (16 * r + 8 + place) + quarter]!;
      const first = u32x4(upper.x, lower.x, upper.y, lower.y);
      const second = u32x4(upper.z, lower.z, upper.w, lower.w);
      for (const c of unroll(columnTiles)) {
        const half = subgroupMatrixMultiply(first, weights[c]![0]!, weights[c]![1]!, sums[r]![c]!);
        sums[r]![c] = subgroupMatrixMultiply(second, weights[c]![2]!, weights[c]![3]!, half);
      }
    }
    side = stagedLength - side;
  }

  for (const r of unroll(rowTiles)) {
    for (const c of unroll(columnTiles)) {
      for (const i of unroll(4)) {
        const row = rowBase + 16 * r + place + (i < 2 ? 0 : 8);
        const column = columnBase + 8 * c + 2 * quarter + (i % 2);
        if (row < m && column < columns) {
          const acc = convert.u32ToI32(component(sums[r]![c]!, i));
          out[row * n + firstColumn + column] = options.epilogue(acc, row, firstColumn + column);
        }
      }
    }
  }
}
