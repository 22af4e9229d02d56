import {
  type Buffer,
  bits,
  type f32,
  f32x4,
  type i16,
  i16x8,
  type i32,
  i32x4,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import { sumF32x4 } from "./lanes.ts";
import { largestMagnitude } from "./magnitude.ts";
import { type OutputOptions, storeColumns } from "./store-columns.ts";

/** A lane's i32 takes 256 pairs of products of 127 and 32767: after this many terms it moves to f32. */
const EXACT_TERMS = 2048;

/**
 * int8 weights times activations in fixed point:
 * out[row, column] = epilogue(scale * sum_k x[row, k] * w[column, k]).
 *
 * Each row of x becomes integers of 30 bits relative to its largest magnitude, in two 16-bit halves, whose
 * products with the weights are summed exactly in i32 and rounded to f32 every 2048 terms. Twice as fast as
 * `denseMatmul` on int8. The error is below scale * (2^-29 max|x| sum|w| + (ceil(k/2048) + 8) 2^-24 sum|x w|):
 * less than that of a f32 sum unless the products that count have x far below max|x|.
 * A row with NaN or infinity, or without a magnitude above 2^-99, gives NaN or zeros.
 *
 * @param weights int8 [n, k] row-major, -127..127, seen as bytes, 16 bytes of slack
 * @param scales f32[n]
 * @param x f32[m, k] with xStride elements between rows
 * @param out f32[m, n], contiguous
 * @param scratch per thread: i16[2 * (k rounded up to a multiple of 8)]
 * @param begin first item; an item is a group of 4 output columns, ceil(n/4) in all
 * @param end one past the last item
 */
export function int8Matmul(
  options: Static<OutputOptions>,
  weights: Buffer<u8>,
  scales: Buffer<f32>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<i16>,
  m: i32,
  n: i32,
  k: i32,
  xStride: i32,
  begin: i32,
  end: i32,
): void {
  const zero = i32x4.splat(0);
  const kPadded = ((k + 7) >> 3) << 3;
  for (let row: i32 = 0; row < m; row++) {
    const magnitude = largestMagnitude(x, row * xStride, k);
    const largest = bits.i32ToF32(magnitude);
    const good = magnitude < 0x7f800000;
    const used = good && magnitude > 0x0e000000;
    // x * factor is at most 32767 * 2^14; above 2^-99 the factor is finite.
    const factor = select(used, 536854528 / largest, 0);
    let unit = select(used, largest / 536854528, 0);
    if (!good) unit = bits.i32ToF32(0x7fc00000);
    splitRow(x, row * xStride, k, factor, scratch, kPadded);
    for (let item = begin; item < end; item++) {
      const column = item << 2;
      // Columns past the last repeat it; their results are dropped.
      const at = registers(4, column);
      let scale = zero;
      for (const c of unroll(4)) {
        const valid = select(column + c < n, column + c, n - 1);
        at[c] = valid * k;
        scale = f32x4.replaceLane(scale, c, scales[valid]!);
      }
      let total = zero;
      for (let first: i32 = 0; first < kPadded; first += EXACT_TERMS) {
        const last = select(first + EXACT_TERMS < kPadded, first + EXACT_TERMS, kPadded);
        const high = registers(4, zero);
        const low = registers(4, zero);
        for (let i = first; i < last; i += 8) {
          const a = v128.load(scratch, i);
          const b = v128.load(scratch, kPadded + i);
          for (const c of unroll(4)) {
            // Past the row's end the activations are zero, whatever the weights.
            const w = i16x8.load8x8S(weights, at[c]! + i);
            high[c] = i32x4.add(high[c]!, i32x4.dotI16x8S(a, w));
            low[c] = i32x4.add(low[c]!, i32x4.dotI16x8S(b, w));
          }
        }
        const sums = registers(4, zero);
        for (const c of unroll(4)) {
          const coarse = f32x4.mul(f32x4.convertI32x4S(high[c]!), f32x4.splat(16384));
          sums[c] = f32x4.add(coarse, f32x4.convertI32x4S(low[c]!));
        }
        total = f32x4.add(total, sumF32x4(sums[0]!, sums[1]!, sums[2]!, sums[3]!));
      }
      const acc = f32x4.mul(f32x4.mul(total, f32x4.splat(unit)), scale);
      storeColumns(options, "f32", out, acc, row, column, n);
    }
  }
}

/** RNE(x * factor) as high * 2^14 + low, zero from k to kPadded: high at `to`, low kPadded elements on. */
function splitRow(x: Buffer<f32>, start: i32, k: i32, factor: f32, to: Buffer<i16>, kPadded: i32): void {
  const factors = f32x4.splat(factor);
  const half = i32x4.splat(8192);
  const split = (values: v128, i: i32): void => {
    const whole = i32x4.truncSatF32x4S(f32x4.nearest(f32x4.mul(values, factors)));
    const high = i32x4.shrS(i32x4.add(whole, half), 14);
    const low = i32x4.sub(whole, i32x4.shl(high, 14));
    for (const lane of unroll(4)) {
      if (i + lane < k) {
        to[i + lane] = i32x4.extractLane(high, lane);
        to[kPadded + i + lane] = i32x4.extractLane(low, lane);
      }
    }
  };
  const whole = k & -4;
  for (let i: i32 = 0; i < whole; i += 4) split(v128.load(x, start + i), i);
  for (let i = whole; i < k; i++) split(v128.load32Zero(x, start + i), i);
  for (let i = k; i < kPadded; i++) {
    to[i] = 0;
    to[kPadded + i] = 0;
  }
}
