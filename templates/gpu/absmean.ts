/**
 * Absmean scales: alpha = max(RN(sum |w| / count), 1e-5), the sum in integers. WGSL has no f64, and lets an
 * implementation reassociate what would compensate the rounding of f32. Magnitudes are counted in units of 2^-63 of the
 * power of two of the largest, and what is finer is cut off: every order of them gives the same bits on every device, and
 * a sum of n is within n * 2^-63 of its own size, where f64 in ascending order is within n * 2^-53.
 */
import {
  type Buffer,
  convert,
  type i32,
  localId,
  type Registers,
  registers,
  type Shared,
  type Static,
  select,
  shared,
  type u32,
  u32x4,
  unroll,
  workgroupBarrier,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { workgroupSums } from "./partials.ts";
import { blockIndex } from "./ternary-codes.ts";
import { type WorkgroupOptions, workgroupMax } from "./workgroup.ts";

/**
 * A term is (exponent, high, low, 0): high:low * 2^(exponent - 190), with bit 31 of high set unless it is 0. A magnitude
 * keeps f32's exponent field.
 */
type Term = u32x4;

/** The exponent of a bad term, and the field from 2^126 on, where f32 cannot say 1/alpha, nor infinity and NaN their value. */
const BAD = 0x10000;
const BAD_FIELD = 253;
/** With no larger exponent than this a mean is far below the floor. */
const NEGLIGIBLE = 64;
/** 1e-5 as f32. */
const FLOOR_BITS = 0x3727c5ac;
const NAN_BITS = 0x7fc00000;
/** Digits of 16 bits in a sum, the last of which has all that carries beyond 64. */
const DIGITS = 5;
/** Terms that may be added to a sum before its digits carry: 2^16 + 1 times the largest digit fits 32 bits. */
const ADDENDS = 0x10000;

/**
 * Scales by rows or by groups of rows.
 *
 * Grid: a workgroup takes a group, then every workgroupCount-th; rows * groups workgroups take one each.
 *
 * @param weights f32[rows, k], as bits
 * @param scales f32[ceil(rows/4)][groups][4] with groups = ceil(k/groupSize), as bits; NaN where a weight of the group is
 * not finite or as large as 2^126
 * @param groupSize weights per group; the last of a row may be shorter
 */
export function absmeanScales(
  options: Static<WorkgroupOptions>,
  weights: Buffer<u32>,
  scales: Buffer<u32>,
  rows: i32,
  k: i32,
  groupSize: i32,
): void {
  const partials = shared<u32>(DIGITS * options.workgroupSize);
  const digits = shared<u32>(DIGITS);
  const groups = (k + groupSize - 1) / groupSize;
  for (let at = workgroupId(); at < rows * groups; at += workgroupCount()) {
    const row = at / groups;
    const group = at - row * groups;
    const start = group * groupSize;
    const length = select(k - start < groupSize, k - start, groupSize);
    const sum = sumOfTerms(options, partials, digits, length, (i: i32) =>
      termOf(weights[row * k + start + i]!),
    );
    if (localId() === 0) scales[blockIndex(row, group, groups)] = scaleOf(sum, length);
  }
}

/**
 * The sums of magnitudes of rows, for one scale of all of them. The same grid, a row being the group.
 *
 * @param weights f32[rows, k], as bits
 * @param sums terms [rows]
 */
export function absmeanRowSums(
  options: Static<WorkgroupOptions>,
  weights: Buffer<u32>,
  sums: Buffer<u32x4>,
  rows: i32,
  k: i32,
): void {
  const partials = shared<u32>(DIGITS * options.workgroupSize);
  const digits = shared<u32>(DIGITS);
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const sum = sumOfTerms(options, partials, digits, k, (i: i32) => termOf(weights[row * k + i]!));
    if (localId() === 0) sums[row] = sum;
  }
}

/**
 * One scale from the sums of rows, which every row repeats.
 *
 * Grid: one workgroup.
 *
 * @param sums terms [rows] of {@link absmeanRowSums}
 * @param scales f32[rows], as bits
 * @param count weights in all
 */
export function absmeanTensorScale(
  options: Static<WorkgroupOptions>,
  sums: Buffer<u32x4>,
  scales: Buffer<u32>,
  rows: i32,
  count: i32,
): void {
  const partials = shared<u32>(DIGITS * options.workgroupSize);
  const digits = shared<u32>(DIGITS);
  const sum = sumOfTerms(options, partials, digits, rows, (i: i32) => sums[i]!);
  const scale = scaleOf(sum, count);
  for (let row = localId(); row < rows; row += options.workgroupSize) scales[row] = scale;
}

/** The magnitude of an f32. What is subnormal counts as 0: it vanishes beside any sum above the floor. */
function termOf(bits: u32): Term {
  const field = (bits >> 23) & 255;
  const significand = select(field > 0, (bits << 8) | 0x80000000, 0);
  return u32x4(select(field < BAD_FIELD, field, BAD), significand, 0, 0);
}

/** The sum of `count` terms, for every invocation. All invocations must call it together. */
function sumOfTerms(
  options: Static<WorkgroupOptions>,
  partials: Shared<u32>,
  together: Shared<u32>,
  count: i32,
  term: (i: i32) => Term,
): Term {
  const zero: u32 = 0;
  let largest: u32 = 0;
  for (let i = localId(); i < count; i += options.workgroupSize) {
    const exponent = term(i).x;
    largest = select(exponent > largest, exponent, largest);
  }
  largest = workgroupMax(options, partials, zero, largest);
  const digits = registers(DIGITS, zero);
  const block = ADDENDS * options.workgroupSize;
  for (let start: i32 = 0; start < count; start += block) {
    const end = select(count - start < block, count, start + block);
    for (let i = start + localId(); i < end; i += options.workgroupSize) addTerm(digits, term(i), largest);
    carry(digits);
  }
  workgroupSums(options, 1, DIGITS, partials, digits, (sum: u32, digit: i32, _lane: i32) => {
    together[digit] = sum;
  });
  workgroupBarrier();
  for (const d of unroll(DIGITS)) digits[d] = together[d]!;
  carry(digits);
  let exponent = largest;
  let beyond = digits[4]!;
  let high = (digits[3]! << 16) | digits[2]!;
  let low = (digits[1]! << 16) | digits[0]!;
  while (beyond > 0) {
    low = (low >> 1) | (high << 31);
    high = (high >> 1) | (beyond << 31);
    beyond = beyond >> 1;
    exponent += 1;
  }
  return u32x4(exponent, high, low, 0);
}

/** Adds a term to a sum in the units of terms with the largest exponent. */
function addTerm(digits: Registers<u32>, term: Term, largest: u32): void {
  const distance = largest - term.x;
  const far = distance >= 32;
  const upper = select(far, 0, term.y);
  const lower = select(far, term.y, term.z);
  const shift = distance & 31;
  const low = (lower >> shift) | ((upper << 1) << (31 - shift));
  const high = upper >> shift;
  if (distance < 64) {
    digits[0] = digits[0]! + (low & 0xffff);
    digits[1] = digits[1]! + (low >> 16);
    digits[2] = digits[2]! + (high & 0xffff);
    digits[3] = digits[3]! + (high >> 16);
  }
}

/** Leaves 16 bits in each digit but the last. */
function carry(digits: Registers<u32>): void {
  for (const d of unroll(DIGITS - 1)) {
    digits[d + 1] = digits[d + 1]! + (digits[d]! >> 16);
    digits[d] = digits[d]! & 0xffff;
  }
}

/** max(RN(sum / count), 1e-5) as bits, by long division to 26 bits and whether any follow. */
function scaleOf(sum: Term, count: i32): u32 {
  const divisor = convert.i32ToU32(count);
  let high = sum.y;
  let low = sum.z;
  let rest: u32 = 0;
  let quotient: u32 = 0;
  let steps: u32 = 0;
  while (quotient < 0x2000000 && steps < 64) {
    rest = (rest << 1) | (high >> 31);
    high = (high << 1) | (low >> 31);
    low = low << 1;
    quotient = quotient << 1;
    if (rest >= divisor) {
      rest -= divisor;
      quotient += 1;
    }
    steps += 1;
  }
  // The last two bits are half a unit in the last place and a quarter; a half alone goes to the even neighbour.
  const more: u32 = select((rest | high | low) === 0, 0, 1);
  const up = (quotient >> 1) & (quotient | (quotient >> 2) | more) & 1;
  const mean = ((sum.x + 26 - steps) << 23) + ((quotient >> 2) - 0x800000) + up;
  const isAbove = sum.x > NEGLIGIBLE && mean > FLOOR_BITS;
  return select(sum.x < BAD, select(isAbove, mean, FLOOR_BITS), NAN_BITS);
}
