import {
  type Buffer,
  bits,
  type f32,
  f32x4,
  i8x16,
  i16x8,
  type i32,
  i32x4,
  type Registers,
  registers,
  type Static,
  select,
  shuffle,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import { type DenseWeight, decode1, decode8, decodeTernary1 } from "./decode.ts";
import { transpose } from "./lanes.ts";
import { ROUNDER } from "./math.ts";

/** How the operands of an outer product are read. */
export interface OuterOperands {
  /** Element type of b in memory; "ternary" is the interleaved block layout. */
  b: DenseWeight | "ternary";
  /** Whether row p of b is multiplied with a scale. */
  scaled: boolean;
  /** Ternary with scales per group of `groupSize` columns. */
  grouped: boolean;
  /** a is read by columns: aRow is 1. Otherwise by rows, and aColumn is 1. */
  byColumns: boolean;
}

/** Columns of a and rows of b in a panel: so few codes of 16 and 8 bits add up in 32 bits. */
export const PANEL_LENGTH = 256;
/** Columns of b in a panel. */
export const PANEL_COLUMNS = 8;
/** Rows of a in a panel. */
export const PANEL_ROWS = 128;

/** Where in scratch memory, in words, the panel of a begins, behind that of b; then what its rows' codes are worth. */
export const LEFT = PANEL_LENGTH * PANEL_COLUMNS;
export const WORTH = LEFT + PANEL_LENGTH * PANEL_ROWS;
const RECIPROCALS = WORTH + PANEL_ROWS;

const LARGEST_CODE = 32_767;
/** Codes of rows of a panel without anything larger are relative to this, for the reciprocal must be finite. */
const LEAST = 2 ** -100;

/** Whether products are summed as integers: where b is codes that have a scale a row at most. */
export function inFixedPoint(options: Static<OuterOperands>): boolean {
  return options.b === "int8" || (options.b === "ternary" && !options.grouped);
}

/** Words between groups of four rows in a packed panel of a. */
export function leftStride(options: Static<OuterOperands>): number {
  return (inFixedPoint(options) ? PANEL_LENGTH / 2 : PANEL_LENGTH) * 4;
}

/**
 * Packs columns first..last-1 of rows row..row+rows-1 of a, four rows side by side: f32[row / 4][column][4], or in
 * fixed point pairs of neighbouring columns, i16[row / 4][column / 2][4][2], with 0 behind an odd last column.
 *
 * Fixed point takes the scales of b into a. Of each row of the panel the largest magnitude M is the code 32767, anything
 * else the nearest code, so that an element is off by at most M / 65534; M is taken to be 2^-100 at least. NaN and infinity make
 * all of the row's sums NaN.
 */
export function packLeft(
  options: Static<OuterOperands>,
  a: Buffer<f32>,
  scales: Buffer<f32>,
  scratch: Buffer<i32>,
  aRow: i32,
  aColumn: i32,
  row: i32,
  rows: i32,
  first: i32,
  last: i32,
): void {
  const fixed = inFixedPoint(options);
  if (fixed && !options.byColumns) {
    packCodesOfRows(options, a, scales, scratch, aRow, row, rows, first, last);
    return;
  }
  const zero = f32x4.splat(0);
  const magnitude = i32x4.splat(0x7fffffff);
  const rounder = f32x4.splat(ROUNDER);
  const low = i32x4.splat(0xffff);
  const whole = first + ((last - first) & -4);

  const strides = registers(4, aRow);
  for (const u of unroll(4)) strides[u] = u * (options.byColumns ? aColumn : aRow);

  /** Rows r..r+3 in columns i..i+3, a vector a column; rows beyond the last repeat the first, columns are 0. */
  const transposed = (careful: boolean, r: i32, i: i32, to: Registers<v128>): void => {
    if (careful) {
      for (const c of unroll(4)) {
        to[c] = zero;
        if (i + c < last) {
          for (const u of unroll(4)) {
            const place = select(r + u < rows, row + r + u, row + r);
            to[c] = f32x4.replaceLane(to[c]!, u, a[place * aRow + (i + c) * aColumn]!);
          }
        }
      }
    } else if (options.byColumns) {
      const from = i * aColumn + row + r;
      for (const c of unroll(4)) to[c] = v128.load(a, from + strides[c]!);
    } else {
      const from = (row + r) * aRow + i;
      for (const u of unroll(4)) to[u] = v128.load(a, from + select(r + u < rows, strides[u]!, 0));
      transpose(to);
    }
    if (fixed && options.scaled) {
      for (const c of unroll(4)) {
        const scale = select(i + c < last, i + c, i);
        to[c] = f32x4.mul(to[c]!, v128.load32Splat(scales, careful ? scale : i + c));
      }
    }
  };

  /** Rows r..r+3 in columns i..i+3: their magnitudes to what the rows are worth, or themselves to the panel. */
  const visit = (purpose: "measure" | "pack", careful: boolean, r: i32, i: i32): void => {
    const x = registers(4, zero);
    transposed(careful, r, i, x);
    if (purpose === "measure") {
      let largest = v128.load(scratch, WORTH + r);
      for (const c of unroll(4)) largest = i32x4.maxS(largest, v128.and(x[c]!, magnitude));
      v128.store(scratch, WORTH + r, largest);
    } else if (fixed) {
      const to = LEFT + (r >> 2) * leftStride(options) + (i - first) * 2;
      const reciprocal = v128.load(scratch, RECIPROCALS + r);
      for (const c of unroll(4)) x[c] = f32x4.add(f32x4.mul(x[c]!, reciprocal), rounder);
      for (const pair of unroll(2)) {
        const codes = v128.or(v128.and(x[2 * pair]!, low), i32x4.shl(x[2 * pair + 1]!, 16));
        v128.store(scratch, to + 4 * pair, codes);
      }
    } else {
      const to = LEFT + (r >> 2) * leftStride(options) + (i - first) * 4;
      for (const c of unroll(4)) v128.store(scratch, to + 4 * c, x[c]!);
    }
  };

  const visitAll = (purpose: "measure" | "pack"): void => {
    if (options.byColumns) {
      // Along the rows, a line of memory at a time: strides of whole rows share few lines of a cache.
      for (let i = first; i < last; i += 4) {
        const wholeRows = select(i < whole, rows & -4, 0);
        for (let r: i32 = 0; r < wholeRows; r += 4) visit(purpose, false, r, i);
        for (let r = wholeRows; r < rows; r += 4) visit(purpose, true, r, i);
      }
    } else {
      for (let r: i32 = 0; r < rows; r += 4) {
        for (let i = first; i < whole; i += 4) visit(purpose, false, r, i);
        if (whole < last) visit(purpose, true, r, whole);
      }
    }
  };

  if (fixed) {
    for (let r: i32 = 0; r < rows; r += 4) v128.store(scratch, WORTH + r, zero);
    visitAll("measure");
    for (let r: i32 = 0; r < rows; r += 4) storeWorth(scratch, r, v128.load(scratch, WORTH + r));
  }
  visitAll("pack");
}

/** What the codes of rows r..r+3 are worth, and its reciprocals, given the largest magnitudes. */
function storeWorth(scratch: Buffer<i32>, r: i32, magnitudes: v128): void {
  const most = f32x4.splat(LARGEST_CODE);
  // NaN is not smaller than anything, and stays.
  const largest = f32x4.pmax(magnitudes, f32x4.splat(LEAST));
  // Infinity less itself is NaN, and so is what its row's codes are worth.
  const worth = f32x4.add(f32x4.div(largest, most), f32x4.sub(largest, largest));
  v128.store(scratch, WORTH + r, worth);
  v128.store(scratch, RECIPROCALS + r, f32x4.div(most, largest));
}

/** {@link packLeft} in fixed point where a is read by rows: four rows are measured and packed while a cache has them. */
function packCodesOfRows(
  options: Static<OuterOperands>,
  a: Buffer<f32>,
  scales: Buffer<f32>,
  scratch: Buffer<i32>,
  aRow: i32,
  row: i32,
  rows: i32,
  first: i32,
  last: i32,
): void {
  const zero = f32x4.splat(0);
  const magnitude = i32x4.splat(0x7fffffff);
  const rounder = f32x4.splat(ROUNDER);
  const whole = first + ((last - first) & -4);
  const start = registers(4, aRow);

  /** Columns i..i+3 of row r+u with their scales, 0 behind the last. */
  const scaled = (careful: boolean, u: number, i: i32): v128 => {
    const x = registers(2, zero);
    if (careful) {
      for (const c of unroll(4)) {
        if (i + c < last) {
          x[0] = f32x4.replaceLane(x[0]!, c, a[start[u]! + i + c]!);
          if (options.scaled) x[1] = f32x4.replaceLane(x[1]!, c, scales[i + c]!);
        }
      }
    } else {
      x[0] = v128.load(a, start[u]! + i);
      if (options.scaled) x[1] = v128.load(scales, i);
    }
    return options.scaled ? f32x4.mul(x[0]!, x[1]!) : x[0]!;
  };

  for (let r: i32 = 0; r < rows; r += 4) {
    // Rows beyond the last repeat the first of four.
    for (const u of unroll(4)) start[u] = (row + select(r + u < rows, r + u, r)) * aRow;
    const largest = registers(4, zero);
    const measure = (careful: boolean, i: i32): void => {
      for (const u of unroll(4)) {
        largest[u] = i32x4.maxS(largest[u]!, v128.and(scaled(careful, u, i), magnitude));
      }
    };
    for (let i = first; i < whole; i += 4) measure(false, i);
    if (whole < last) measure(true, whole);
    transpose(largest);
    const pairs = registers(2, zero);
    for (const half of unroll(2)) pairs[half] = i32x4.maxS(largest[2 * half]!, largest[2 * half + 1]!);
    storeWorth(scratch, r, i32x4.maxS(pairs[0]!, pairs[1]!));

    const reciprocals = registers(4, zero);
    for (const u of unroll(4)) reciprocals[u] = v128.load32Splat(scratch, RECIPROCALS + r + u);
    let to = LEFT + (r >> 2) * leftStride(options);
    const pack = (careful: boolean, i: i32): void => {
      const codes = registers(4, zero);
      for (const u of unroll(4)) {
        const rounded = f32x4.add(f32x4.mul(scaled(careful, u, i), reciprocals[u]!), rounder);
        codes[u] = i32x4.sub(rounded, rounder);
      }
      const low = i16x8.narrowI32x4S(codes[0]!, codes[1]!);
      const high = i16x8.narrowI32x4S(codes[2]!, codes[3]!);
      v128.store(scratch, to, shuffle(low, high, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27));
      v128.store(
        scratch,
        to + 4,
        shuffle(low, high, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31),
      );
      to += 8;
    };
    for (let i = first; i < whole; i += 4) pack(false, i);
    if (whole < last) pack(true, whole);
  }
}

/**
 * Unpacks rows first..last-1 of b in eight columns from `column` on, of which `columns` exist: f32[row][8] with scales,
 * or in fixed point pairs of neighbouring rows without them, i16[row / 2][8][2].
 */
export function unpackRight(
  options: Static<OuterOperands>,
  b: Buffer<u8>,
  scales: Buffer<f32>,
  scratch: Buffer<i32>,
  constants: Registers<v128>,
  n: i32,
  bStride: i32,
  groupSize: i32,
  first: i32,
  last: i32,
  column: i32,
  columns: i32,
): void {
  const zero = f32x4.splat(0);
  const groupBlocks = (groupSize + 63) >> 6;
  const groups = (n + groupSize - 1) / groupSize;
  const blocks = (n / groupSize) * groupBlocks + (((n % groupSize) + 63) >> 6);

  /** Where the blocks of a group begin in a ternary row. */
  const groupStart = (row: i32, group: i32): i32 =>
    ((row >> 2) * blocks + group * groupBlocks) * 64 + (row & 3) * 16;

  /** b[row, column] with its scale. */
  const element = (row: i32, at: i32): f32 => {
    let value: f32 = 0;
    if (options.b === "ternary") {
      const group = at / groupSize;
      value = decodeTernary1(b, groupStart(row, group), at - group * groupSize);
      if (options.grouped) value = value * scales[((row >> 2) * groups + group) * 4 + (row & 3)]!;
    } else {
      value = f32x4.extractLane(decode1(options.b, constants, b, row * bStride + at), 0);
    }
    if (options.scaled) value = value * scales[row]!;
    return value;
  };

  let to: i32 = 0;
  if (options.b === "ternary" && !options.grouped) {
    const shift = ((column & 63) >> 4) << 1;
    const fields = i8x16.splat(3);
    const ones = i8x16.splat(1);
    // Rows come in fours and columns in blocks; those of padding have weights 0.
    let from = groupStart(first, 0) + (column & -64) + (column & 15);
    for (let row = first; row < last; row += 4) {
      for (const pair of unroll(2)) {
        const bytes = pairRows(b, from + 32 * pair, from + 32 * pair + 16);
        const codes = v128.and(i16x8.shrU(bytes, shift), fields);
        storePairs(scratch, to + PANEL_COLUMNS * pair, i8x16.sub(codes, ones));
      }
      from += blocks << 6;
      to += 2 * PANEL_COLUMNS;
    }
  } else if (options.b === "int8") {
    let from = first * bStride + column;
    for (let row = first; row < last; row += 2) {
      // Behind an odd last row a has codes 0.
      const next = select(row + 1 < last, from + bStride, from);
      if (columns === PANEL_COLUMNS) storePairs(scratch, to, pairRows(b, from, next));
      else {
        for (let c: i32 = 0; c < columns; c++) {
          const low = ((b[from + c]! << 24) >> 24) & 0xffff;
          scratch[to + c] = low | (((b[next + c]! << 24) >> 24) << 16);
        }
      }
      from += bStride << 1;
      to += PANEL_COLUMNS;
    }
  } else if (columns === PANEL_COLUMNS && !options.grouped) {
    const lanes = registers(2, zero);
    for (let row = first; row < last; row++) {
      decode8(options.b as DenseWeight, constants, b, row * bStride + column, lanes);
      for (const half of unroll(2)) v128.store(scratch, to + 4 * half, lanes[half]!);
      to += PANEL_COLUMNS;
    }
  } else {
    for (let row = first; row < last; row++) {
      for (let c: i32 = 0; c < columns; c++) scratch[to + c] = bits.f32ToI32(element(row, column + c));
      to += PANEL_COLUMNS;
    }
  }
}

/** Eight bytes at each of two places, those of one beside those of the other. */
function pairRows(b: Buffer<u8>, first: i32, second: i32): v128 {
  const x = v128.load64Zero(b, first);
  const y = v128.load64Zero(b, second);
  return shuffle(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** Stores sixteen bytes as i16. */
function storePairs(to: Buffer<i32>, index: i32, bytes: v128): void {
  v128.store(to, index, i16x8.extendLowI8x16S(bytes));
  v128.store(to, index + 4, i16x8.extendHighI8x16S(bytes));
}
