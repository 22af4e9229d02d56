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
import { prepareDecode } from "./decode.ts";
import {
  inFixedPoint,
  LEFT,
  leftStride,
  type OuterOperands,
  PANEL_COLUMNS,
  PANEL_LENGTH,
  PANEL_ROWS,
  packLeft,
  unpackRight,
  WORTH,
} from "./outer-panels.ts";

/** Rows and columns of out in a work item; those of a panel that follow one another are done together. */
const ITEM_ROWS = 16;
const ITEM_COLUMNS = 256;

/**
 * out = a @ b with b row-major along the columns of out: what gradients of linear layers are. For dx = g @ W, a is g
 * [rows, N] and b the weight [N, K]; for dW = g^T @ x, a is g read by columns and b the activations [rows, K].
 * Panels of 256 that are summed over, 128 rows of a and then eight columns of b after one another, are unpacked into
 * scratch memory and multiplied there.
 *
 * Where b is codes with a scale a row, int8 or ternary, panels are multiplied in integers: a, times the scales, has 16
 * bits relative to the largest of its row in the panel, M, and 32767 * 128 * 256 < 2^31. Beside the rounding of sums of
 * f32, an element of out is off by at most the sum over panels of M / 65534 * (sum of magnitudes of b's codes). Nothing
 * depends on the engine or the number of threads. Other b are multiplied in f32.
 *
 * @param a f32, element (i, p) at i * aRow + p * aColumn
 * @param b [p, n] with bStride elements between rows, seen as bytes; ternary: packed codes of n columns
 * @param scales scaled: f32 of row i of b at i; grouped: f32[ceil(p/4)][groups][4]; else never read
 * @param out f32[m, n], contiguous
 * @param scratch per thread: i32[256 * (8 + 128) + 2 * 128]
 * @param p rows of b, which are summed over
 * @param begin first item; an item is 16 rows and 256 columns of out, ceil(m/16) * ceil(n/256) in all: of 128 rows
 *   those of the first columns, then of the next, then of the next 128 rows
 * @param end one past the last item
 */
export function outerMatmul(
  options: Static<OuterOperands>,
  a: Buffer<f32>,
  b: Buffer<u8>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<i32>,
  m: i32,
  n: i32,
  p: i32,
  aRow: i32,
  aColumn: i32,
  bStride: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {
  const fixed = inFixedPoint(options);
  const zero = f32x4.splat(0);
  const constants = registers(4, zero);
  prepareDecode(options.b, constants);

  /** Four rows of the item, from its row r on, times the panel of b, to row `row` of out, of which `rows` exist. */
  const multiply = (r: i32, row: i32, rows: i32, first: i32, last: i32, column: i32, columns: i32): void => {
    const acc = registers(8, zero);
    let left = LEFT + (r >> 2) * leftStride(options);
    const steps = fixed ? (last - first + 1) >> 1 : last - first;
    const stop = steps * PANEL_COLUMNS;
    for (let right: i32 = 0; right < stop; right += PANEL_COLUMNS) {
      const low = v128.load(scratch, right);
      const high = v128.load(scratch, right + 4);
      for (const u of unroll(4)) {
        const x = v128.load32Splat(scratch, left + u);
        if (fixed) {
          acc[2 * u] = i32x4.add(acc[2 * u]!, i32x4.dotI16x8S(x, low));
          acc[2 * u + 1] = i32x4.add(acc[2 * u + 1]!, i32x4.dotI16x8S(x, high));
        } else {
          acc[2 * u] = f32x4.add(acc[2 * u]!, f32x4.mul(x, low));
          acc[2 * u + 1] = f32x4.add(acc[2 * u + 1]!, f32x4.mul(x, high));
        }
      }
      left += 4;
    }
    for (const u of unroll(4)) {
      if (u < rows) {
        const to = (row + u) * n + column;
        let low = acc[2 * u]!;
        let high = acc[2 * u + 1]!;
        if (fixed) {
          const worth = v128.load32Splat(scratch, WORTH + r + u);
          low = f32x4.mul(f32x4.convertI32x4S(low), worth);
          high = f32x4.mul(f32x4.convertI32x4S(high), worth);
        }
        if (columns === PANEL_COLUMNS) {
          if (first > 0) {
            low = f32x4.add(low, v128.load(out, to));
            high = f32x4.add(high, v128.load(out, to + 4));
          }
          v128.store(out, to, low);
          v128.store(out, to + 4, high);
        } else {
          for (const c of unroll(PANEL_COLUMNS)) {
            if (c < columns) {
              let sum = f32x4.extractLane(c < 4 ? low : high, c % 4);
              if (first > 0) sum = sum + out[to + c]!;
              out[to + c] = sum;
            }
          }
        }
      }
    }
  };

  const panelItems = PANEL_ROWS / ITEM_ROWS;
  const rowItems = (m + ITEM_ROWS - 1) / ITEM_ROWS;
  const columnItems = (n + ITEM_COLUMNS - 1) / ITEM_COLUMNS;
  let item = begin;
  while (item < end) {
    const panel = item / (panelItems * columnItems);
    const within = item - panel * panelItems * columnItems;
    const inPanel = select((panel + 1) * panelItems < rowItems, panelItems, rowItems - panel * panelItems);
    const group = within % inPanel;
    const groups = select(inPanel - group < end - item, inPanel - group, end - item);
    item += groups;
    const row = panel * PANEL_ROWS + group * ITEM_ROWS;
    const rows = select(row + groups * ITEM_ROWS < m, groups * ITEM_ROWS, m - row);
    const firstColumn = (within / inPanel) * ITEM_COLUMNS;
    const lastColumn = select(firstColumn + ITEM_COLUMNS < n, firstColumn + ITEM_COLUMNS, n);
    for (let first: i32 = 0; first < p; first += PANEL_LENGTH) {
      const last = select(first + PANEL_LENGTH < p, first + PANEL_LENGTH, p);
      packLeft(options, a, scales, scratch, aRow, aColumn, row, rows, first, last);
      for (let column = firstColumn; column < lastColumn; column += PANEL_COLUMNS) {
        const columns = select(column + PANEL_COLUMNS <= n, PANEL_COLUMNS, n - column);
        unpackRight(
          options,
          b,
          scales,
          scratch,
          constants,
          n,
          bStride,
          groupSize,
          first,
          last,
          column,
          columns,
        );
        for (let r: i32 = 0; r < rows; r += 4) {
          multiply(r, row + r, rows - r, first, last, column, columns);
        }
      }
    }
  }
}
