import {
  type Buffer,
  type f32,
  f32x4,
  type i32,
  i32x4,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import { decodeTernary1, decodeTernary16 } from "./decode.ts";
import { laneSumF32 } from "./lanes.ts";
import { type OutputOptions, storeColumns } from "./store-columns.ts";

/** What a specialization of {@link ternaryDenseMatmul} fixes. */
export interface TernaryDenseMatmulOptions extends OutputOptions {
  /** Scales per group of `groupSize` weights along K, instead of one per output column. */
  grouped: boolean;
  /** Rows of x per pass over the weights: 1 or 4. Any m works with either. */
  tileRows: 1 | 4;
}

/**
 * f32 activations times ternary weights:
 * out[row, column] = epilogue(sum_g scale_g * sum_{k in g} x[row, k] * w[column, k]).
 *
 * @param codes packed ternary weights [n, k] in the interleaved block layout
 * @param scales f32[ceil(n/4)][groups][4], one group unless grouped
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
): void {
  let groups: i32 = 1;
  let groupLength = k;
  if (options.grouped) {
    groups = (k + groupSize - 1) / groupSize;
    groupLength = groupSize;
  }
  const groupBlocks = (groupLength + 63) >> 6;
  const blocks = (groups - 1) * groupBlocks + ((k - (groups - 1) * groupLength + 63) >> 6);
  const zero = f32x4.splat(0);

  for (let item = begin; item < end; item++) {
    const column = item << 2;
    for (let row: i32 = 0; row < m; row += options.tileRows) {
      // Rows past the last repeat it; their results are dropped.
      const xRow = registers(options.tileRows, row);
      for (const r of unroll(options.tileRows)) xRow[r] = select(row + r < m, row + r, m - 1) * xStride;
      const totals = registers(options.tileRows, zero);
      for (const c of unroll(4)) {
        for (let g: i32 = 0; g < groups; g++) {
          const start = g * groupLength;
          const rest = k - start;
          const length = select(rest < groupLength, rest, groupLength);
          const from = ((item * blocks + g * groupBlocks) << 6) + 16 * c;
          const whole = length & -64;
          const acc = registers(2 * options.tileRows, zero);
          const w = registers(4, zero);
          for (let i: i32 = 0; i < whole; i += 64) {
            let bytes = v128.load(codes, from + i);
            for (const j of unroll(4)) {
              decodeTernary16(bytes, w);
              for (const r of unroll(options.tileRows)) {
                for (const u of unroll(4)) {
                  const xi = v128.load(x, xRow[r]! + start + i + 16 * j + 4 * u);
                  acc[2 * r + (u % 2)] = f32x4.add(acc[2 * r + (u % 2)]!, f32x4.mul(xi, w[u]!));
                }
              }
              bytes = i32x4.shrU(bytes, 2);
            }
          }
          for (let i = whole; i < length; i++) {
            const wi = f32x4.splat(decodeTernary1(codes, from, i));
            for (const r of unroll(options.tileRows)) {
              const xi = v128.load32Zero(x, xRow[r]! + start + i);
              acc[2 * r] = f32x4.add(acc[2 * r]!, f32x4.mul(xi, wi));
            }
          }
          const scale = scales[column * groups + 4 * g + c]!;
          for (const r of unroll(options.tileRows)) {
            const sum = laneSumF32(f32x4.add(acc[2 * r]!, acc[2 * r + 1]!));
            const total = f32x4.extractLane(totals[r]!, c) + sum * scale;
            totals[r] = f32x4.replaceLane(totals[r]!, c, total);
          }
        }
      }
      for (const r of unroll(options.tileRows)) {
        if (row + r < m) storeColumns(options, "f32", out, totals[r]!, row + r, column, n);
      }
    }
  }
}
