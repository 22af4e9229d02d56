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
import type { OutputOptions } from "./output.ts";
import { workgroupSums } from "./partials.ts";
import { blocksOf, blocksOfRow, ternaryOf } from "./ternary-codes.ts";
import type { WorkgroupOptions } from "./workgroup.ts";

/** What a specialization of {@link ternaryDenseGemv} fixes. */
export interface TernaryDenseGemvOptions extends WorkgroupOptions, OutputOptions {
  /** Scales per group of `groupSize` weights along K, instead of one per output column. */
  grouped: boolean;
  /** Rows of x of a workgroup. Any m works with any. */
  tileRows: 1 | 2 | 4;
}

/**
 * f32 activations times ternary weights for few rows:
 * out[row, column] = epilogue(sum_g scale_g * sum_{k in g} x[row, k] * w[column, k]).
 *
 * A workgroup computes four columns, whose interleaved rows of weights it reads once. Neighbouring invocations take
 * neighbouring words of 16 weights.
 *
 * Grid: x = ceil(columns / 4), y = ceil(m / tileRows).
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
export function ternaryDenseGemv(
  options: Static<TernaryDenseGemvOptions>,
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
  const { tileRows, workgroupSize } = options;
  const group = workgroupId();
  const groups: i32 = options.grouped ? (k + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : k;
  const groupBlocks = blocksOf(groupLength);
  const blocks = blocksOfRow(k, groups, groupLength);
  const none: i32 = 0;
  const zero: f32 = 0;
  // Rows past the last repeat it; their results are dropped.
  const rowStart = registers(tileRows, none);
  for (const r of unroll(tileRows)) {
    const row = workgroupIdY() * tileRows + r;
    rowStart[r] = select(row < m, row, m - 1) * xStride;
  }

  const acc = registers(4 * tileRows, zero);
  for (let i = localId(); i < 4 * blocks; i += workgroupSize) {
    const block = i >> 2;
    const g = block / groupBlocks;
    const start = g * groupLength + ((block - g * groupBlocks) << 6) + 4 * (i & 3);
    const nothing: u32 = 0;
    const words = registers(4, nothing);
    for (const c of unroll(4)) words[c] = codes[((group * blocks + block) * 4 + c) * 4 + (i & 3)]!;
    const sums = registers(4 * tileRows, zero);
    for (const f of unroll(4)) {
      for (const b of unroll(4)) {
        const at = start + 16 * f + b;
        for (const r of unroll(tileRows)) {
          // Padding of groups has weight 0; beyond the row there may be anything.
          const value = select(at < k, x[rowStart[r]! + select(at < k, at, k - 1)]!, 0);
          for (const c of unroll(4)) {
            sums[4 * r + c] = sums[4 * r + c]! + value * ternaryOf(words[c]!, 8 * b + 2 * f);
          }
        }
      }
    }
    for (const c of unroll(4)) {
      const scale = scales[(group * groups + g) * 4 + c]!;
      for (const r of unroll(tileRows)) acc[4 * r + c] = acc[4 * r + c]! + sums[4 * r + c]! * scale;
    }
  }

  const partials = shared<f32>(4 * tileRows * workgroupSize);
  workgroupSums(options, 1, 4 * tileRows, partials, acc, (sum: f32, index: i32, _lane: i32) => {
    const row = workgroupIdY() * tileRows + (index >> 2);
    const column = 4 * group + (index & 3);
    if (row < m && column < columns) {
      out[row * n + firstColumn + column] = options.epilogue(sum, row, firstColumn + column);
    }
  });
}
