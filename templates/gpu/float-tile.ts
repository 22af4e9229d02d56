import {
  bits,
  component,
  type f32,
  type i32,
  type Registers,
  registers,
  type Static,
  select,
  shared,
  u32x4,
  unroll,
} from "bitloom/kernel";
import { eachResult, stagedLength, type TileOptions, tileHeight, tileStep, tileWidth } from "./tile.ts";

/** Elements of K in a step: four words of four quarters. */
const STEP = 16;

/**
 * A tile of a product of matrices in f32: sums over i < k of what `rowValue` gives times what `columnValue` gives,
 * passed to `store`. Rows and columns count from the tile's first. Beyond k nothing is read and 0 counts.
 */
export function floatTile(
  options: Static<TileOptions>,
  k: i32,
  rowValue: (row: i32, i: i32) => f32,
  columnValue: (column: i32, i: i32) => f32,
  store: (acc: f32, row: i32, column: i32) => void,
): void {
  const { edge } = options;
  const stagedRows = shared<u32x4>(stagedLength(tileHeight(options)));
  const stagedColumns = shared<u32x4>(stagedLength(tileWidth(options)));
  const zero: f32 = 0;
  const acc = registers(edge * edge, zero);
  for (let start: i32 = 0; start < k; start += STEP) {
    const fetch = (value: (line: i32, i: i32) => f32, line: i32, quarter: i32): u32x4 => {
      const four = registers(4, zero);
      for (const c of unroll(4)) {
        const i = start + 4 * quarter + c;
        four[c] = select(i < k, value(line, select(i < k, i, k - 1)), 0);
      }
      return u32x4(
        bits.f32ToU32(four[0]!),
        bits.f32ToU32(four[1]!),
        bits.f32ToU32(four[2]!),
        bits.f32ToU32(four[3]!),
      );
    };
    const multiply = (a: Registers<u32x4>, w: Registers<u32x4>): void => {
      for (const j of unroll(4)) {
        for (const r of unroll(edge)) {
          const left = bits.u32ToF32(component(a[r]!, j));
          for (const c of unroll(edge)) {
            const i = r * edge + c;
            acc[i] = acc[i]! + left * bits.u32ToF32(component(w[c]!, j));
          }
        }
      }
    };
    tileStep(
      options,
      stagedRows,
      stagedColumns,
      (row: i32, quarter: i32) => fetch(rowValue, row, quarter),
      (column: i32, quarter: i32) => fetch(columnValue, column, quarter),
      multiply,
    );
  }
  eachResult(options, (row: i32, column: i32, i: number) => store(acc[i]!, row, column));
}
