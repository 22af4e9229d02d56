import {
  type Buffer,
  type f32,
  f32x4,
  i8x16,
  type i32,
  type Registers,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import {
  type DenseWeight,
  decode1,
  decode8,
  decodeTernary1,
  decodeTernary16,
  prepareDecode,
} from "./decode.ts";

/** What a specialization of {@link outerMatmul} fixes. */
export interface OuterMatmulOptions {
  /** Element type of b in memory; "ternary" is the interleaved block layout. */
  b: DenseWeight | "ternary";
  /** Whether row p of b is multiplied with a scale. */
  scaled: boolean;
  /** Ternary with scales per group of `groupSize` columns. */
  grouped: boolean;
  /** a is read by columns: aRow is 1. Otherwise by rows, and aColumn is 1. */
  byColumns: boolean;
}

/** Rows and columns of out in a work item; rows of b in a panel, which stays in a first-level cache. */
const ITEM_ROWS = 64;
const ITEM_COLUMNS = 64;
const PANEL_ROWS = 256;
const PANEL_COLUMNS = 8;

/**
 * out = a @ b in f32 with b row-major along the columns of out: what gradients of linear layers are. For dx = g @ W,
 * a is g [rows, N] and b the weight [N, K]; for dW = g^T @ x, a is g read by columns and b the activations [rows, K].
 * Eight columns of b at a time are unpacked, scaled and kept in scratch memory, then multiplied with 64 rows of a. Where
 * a is read by columns it is rearranged first, because strides of whole rows share few lines of a cache.
 *
 * @param a f32, element (i, p) at i * aRow + p or, by columns, at i + p * aColumn
 * @param b [p, n] with bStride elements between rows, seen as bytes; ternary: packed codes of n columns
 * @param scales scaled: f32 of row i of b at i; grouped: f32[ceil(p/4)][groups][4]; else never read
 * @param out f32[m, n], contiguous
 * @param scratch per thread: f32[256 * 8], and by columns f32[256 * 64] behind
 * @param p rows of b, which are summed over
 * @param begin first item; an item is 64 rows and 64 columns of out, ceil(m/64) * ceil(n/64) in all
 * @param end one past the last item
 */
export function outerMatmul(
  options: Static<OuterMatmulOptions>,
  a: Buffer<f32>,
  b: Buffer<u8>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<f32>,
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
  const zero = f32x4.splat(0);
  const constants = registers(4, zero);
  prepareDecode(options.b, constants);
  const groupBlocks = (groupSize + 63) >> 6;
  const groups = (n + groupSize - 1) / groupSize;
  const tail = n % groupSize;
  const blocks = (n / groupSize) * groupBlocks + ((tail + 63) >> 6);

  /** Where the blocks of columns from `column`'s group on begin in a ternary row. */
  const groupStart = (row: i32, group: i32): i32 =>
    ((row >> 2) * blocks + group * groupBlocks) * 64 + (row & 3) * 16;

  /** b[row, column] with its scale. */
  const element = (row: i32, column: i32): f32 => {
    let value: f32 = 0;
    if (options.b === "ternary") {
      const group = column / groupSize;
      value = decodeTernary1(b, groupStart(row, group), column - group * groupSize);
      if (options.grouped) value = value * scales[((row >> 2) * groups + group) * 4 + (row & 3)]!;
    } else {
      value = f32x4.extractLane(decode1(options.b, constants, b, row * bStride + column), 0);
    }
    if (options.scaled) value = value * scales[row]!;
    return value;
  };

  /** b[row, column..column+7] with their scale. */
  const eight = (row: i32, column: i32, to: Registers<v128>): void => {
    if (options.b === "ternary") {
      const from = groupStart(row, 0) + (column & -64) + (column & 15);
      const sixteen = registers(4, zero);
      const bytes = v128.load64Zero(b, from);
      decodeTernary16(i8x16.shrU(bytes, ((column & 63) >> 4) << 1), sixteen);
      to[0] = sixteen[0]!;
      to[1] = sixteen[1]!;
    } else {
      decode8(options.b, constants, b, row * bStride + column, to);
    }
    if (options.scaled) {
      const scale = v128.load32Splat(scales, row);
      to[0] = f32x4.mul(to[0]!, scale);
      to[1] = f32x4.mul(to[1]!, scale);
    }
  };

  /** Rows first..last-1 of b and eight columns from `column` on, of which `columns` exist, to scratch. */
  const unpack = (first: i32, last: i32, column: i32, columns: i32): void => {
    if (columns === PANEL_COLUMNS && !options.grouped) {
      for (let row = first; row < last; row++) {
        const lanes = registers(2, zero);
        eight(row, column, lanes);
        v128.store(scratch, (row - first) * PANEL_COLUMNS, lanes[0]!);
        v128.store(scratch, (row - first) * PANEL_COLUMNS + 4, lanes[1]!);
      }
    } else {
      for (let row = first; row < last; row++) {
        for (let c: i32 = 0; c < PANEL_COLUMNS; c++) {
          let value: f32 = 0;
          if (c < columns) value = element(row, column + c);
          scratch[(row - first) * PANEL_COLUMNS + c] = value;
        }
      }
    }
  };

  /** Rows row..row+63 of a, of which `rows` exist, and its columns first..last-1: four rows of one column side by side. */
  const rearrange = (row: i32, rows: i32, first: i32, last: i32): void => {
    for (let r: i32 = 0; r < rows; r += 4) {
      let to = PANEL_ROWS * (PANEL_COLUMNS + r);
      for (let i = first; i < last; i++) {
        const from = i * aColumn + row + r;
        if (r + 4 <= rows) v128.store(scratch, to, v128.load(a, from));
        else for (const u of unroll(4)) scratch[to + u] = a[from + select(r + u < rows, u, 0)]!;
        to += 4;
      }
    }
  };

  /**
   * Four rows of out from `row` on, of which `rows` exist, times the panel in scratch; `offset` is the first row's place
   * in its item.
   */
  const multiply = (
    row: i32,
    offset: i32,
    rows: i32,
    first: i32,
    last: i32,
    column: i32,
    columns: i32,
  ): void => {
    const acc = registers(8, zero);
    const at = registers(4, row);
    for (const r of unroll(4)) {
      if (options.byColumns) at[r] = PANEL_ROWS * (PANEL_COLUMNS + offset) + r;
      else at[r] = select(r < rows, row + r, row) * aRow + first;
    }
    let panel: i32 = 0;
    for (let i = first; i < last; i++) {
      const low = v128.load(scratch, panel);
      const high = v128.load(scratch, panel + 4);
      for (const r of unroll(4)) {
        const x = options.byColumns ? v128.load32Splat(scratch, at[r]!) : v128.load32Splat(a, at[r]!);
        acc[2 * r] = f32x4.add(acc[2 * r]!, f32x4.mul(x, low));
        acc[2 * r + 1] = f32x4.add(acc[2 * r + 1]!, f32x4.mul(x, high));
        at[r] = at[r]! + (options.byColumns ? 4 : 1);
      }
      panel += PANEL_COLUMNS;
    }
    for (const r of unroll(4)) {
      if (r < rows) {
        const to = (row + r) * n + column;
        if (columns === PANEL_COLUMNS) {
          let low = acc[2 * r]!;
          let high = acc[2 * r + 1]!;
          if (first > 0) {
            low = f32x4.add(low, v128.load(out, to));
            high = f32x4.add(high, v128.load(out, to + 4));
          }
          v128.store(out, to, low);
          v128.store(out, to + 4, high);
        } else {
          for (const c of unroll(PANEL_COLUMNS)) {
            if (c < columns) {
              let sum = f32x4.extractLane(acc[2 * r + Math.floor(c / 4)]!, c % 4);
              if (first > 0) sum = sum + out[to + c]!;
              out[to + c] = sum;
            }
          }
        }
      }
    }
  };

  const columnItems = (n + ITEM_COLUMNS - 1) / ITEM_COLUMNS;
  for (let item = begin; item < end; item++) {
    const firstRow = (item / columnItems) * ITEM_ROWS;
    const lastRow = select(firstRow + ITEM_ROWS < m, firstRow + ITEM_ROWS, m);
    const firstColumn = (item % columnItems) * ITEM_COLUMNS;
    const lastColumn = select(firstColumn + ITEM_COLUMNS < n, firstColumn + ITEM_COLUMNS, n);
    for (let first: i32 = 0; first < p; first += PANEL_ROWS) {
      const last = select(first + PANEL_ROWS < p, first + PANEL_ROWS, p);
      if (options.byColumns) rearrange(firstRow, lastRow - firstRow, first, last);
      for (let column = firstColumn; column < lastColumn; column += PANEL_COLUMNS) {
        const columns = select(column + PANEL_COLUMNS <= n, PANEL_COLUMNS, n - column);
        unpack(first, last, column, columns);
        for (let row = firstRow; row < lastRow; row += 4) {
          multiply(row, row - firstRow, lastRow - row, first, last, column, columns);
        }
      }
    }
  }
}
