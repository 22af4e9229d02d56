import {
  type Buffer,
  bits,
  type f32,
  f32x4,
  type i8,
  i8x16,
  i16x8,
  type i32,
  i32x4,
  math,
  registers,
  type Static,
  select,
  unroll,
  v128,
} from "bitloom/kernel";
import { laneSumI32 } from "./lanes.ts";
import { largestMagnitude } from "./magnitude.ts";
import { normalize } from "./normalize.ts";
import { evaluateRow, type RowOptions } from "./row-values.ts";

/** What a specialization of {@link quantize} fixes. */
export interface QuantizeOptions extends RowOptions {
  /** 2^(bits-1) - 1: 127 for 8 bits. Codes lie in -(qmax+1)..qmax. */
  qmax: number;
  /** Quantize rms_norm(prologue, normWeight, eps) instead of the prologue itself. */
  norm: boolean;
  /** One absmax over all rows instead of one per row. */
  perTensor: boolean;
}

/**
 * Absmax quantization of rows to signed codes with a multiplicative dequantization scale:
 * a = max(absmax, 1e-5), s = RN(qmax * RN(1/a)), code = clamp(RNE(RN(x * s))), d = RN(a * RN(1/qmax)).
 *
 * @param normWeight f32[k] when `norm`; otherwise never read
 * @param codes i8[rows, kPadded], the tail of each row zeroed
 * @param d f32[rows], value = code * d; NaN for a row with NaN, Inf or a magnitude above 2^126
 * @param sums i32[rows], the sum of each row's codes
 * @param scratch per thread: f32[kPadded]
 * @param rows all rows; read only when `perTensor`
 * @param kPadded k rounded up to a multiple of 64
 * @param eps of the norm; never read without `norm`
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function quantize(
  options: Static<QuantizeOptions>,
  normWeight: Buffer<f32>,
  codes: Buffer<i8>,
  d: Buffer<f32>,
  sums: Buffer<i32>,
  scratch: Buffer<f32>,
  rows: i32,
  k: i32,
  kPadded: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {
  const qmax: f32 = options.qmax;
  const inverseQmax: f32 = 1 / qmax;
  const highest = i32x4.splat(options.qmax);
  const lowest = i32x4.splat(-options.qmax - 1);

  const evaluate = (row: i32): void => {
    evaluateRow(options, scratch, 0, row, k);
    if (options.norm) normalize(scratch, 0, normWeight, k, eps);
  };

  for (let i = k; i < kPadded; i++) scratch[i] = 0;
  let whole: i32 = 0;
  if (options.perTensor) {
    for (let row: i32 = 0; row < rows; row++) {
      evaluate(row);
      const magnitude = largestMagnitude(scratch, 0, kPadded);
      whole = select(magnitude > whole, magnitude, whole);
    }
  }
  for (let row = begin; row < end; row++) {
    evaluate(row);
    let magnitude = whole;
    if (!options.perTensor) magnitude = largestMagnitude(scratch, 0, kPadded);
    // NaN, infinity, or so large that 1/a would be subnormal: a zero scale gives zero codes.
    const bad = magnitude > 0x7e800000;
    const a = math.max(bits.i32ToF32(magnitude), 1e-5);
    const scale = f32x4.splat(select(bad, 0, qmax * (1 / a)));
    let sum = i32x4.splat(0);
    for (let i: i32 = 0; i < kPadded; i += 16) {
      const q = registers(4, sum);
      for (const u of unroll(4)) {
        const rounded = f32x4.nearest(f32x4.mul(v128.load(scratch, i + 4 * u), scale));
        q[u] = i32x4.maxS(i32x4.minS(i32x4.truncSatF32x4S(rounded), highest), lowest);
        sum = i32x4.add(sum, q[u]!);
      }
      const low = i16x8.narrowI32x4S(q[0]!, q[1]!);
      const high = i16x8.narrowI32x4S(q[2]!, q[3]!);
      v128.store(codes, row * kPadded + i, i8x16.narrowI16x8S(low, high));
    }
    sums[row] = laneSumI32(sum);
    d[row] = select(bad, bits.i32ToF32(0x7fc00000), a * inverseQmax);
  }
}
