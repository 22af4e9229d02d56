import {
  type Buffer,
  bits,
  convert,
  type f32,
  f32x4,
  type i8,
  i8x16,
  i16x8,
  type i32,
  i32x4,
  math,
  v128,
} from "bitloom/kernel";
import { largestMagnitude } from "./magnitude.ts";

/**
 * Quantizes rows of weights to int8: scale = RN(max|row| / 127), code = clamp(RNE(RN(w / scale)), -127, 127);
 * a zero row has scale 0 and codes 0. A row with a NaN or Inf gets a scale that is not finite.
 *
 * @param weights f32[rows, k]
 * @param codes i8[rows, k]
 * @param scales f32[rows]
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function quantizeInt8(
  weights: Buffer<f32>,
  codes: Buffer<i8>,
  scales: Buffer<f32>,
  k: i32,
  begin: i32,
  end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const first = row * k;
    const last = first + k;
    const scale: f32 = bits.i32ToF32(largestMagnitude(weights, first, k)) / 127;
    scales[row] = scale;
    const whole = first + (k & -16);
    if (scale === 0) {
      for (let i = first; i < last; i++) codes[i] = 0;
    } else {
      const lanes = f32x4.splat(scale);
      for (let i = first; i < whole; i += 16) {
        const low = i16x8.narrowI32x4S(rounded(weights, i, lanes), rounded(weights, i + 4, lanes));
        const high = i16x8.narrowI32x4S(rounded(weights, i + 8, lanes), rounded(weights, i + 12, lanes));
        v128.store(codes, i, i8x16.maxS(i8x16.narrowI16x8S(low, high), i8x16.splat(-127)));
      }
      for (let i = whole; i < last; i++) {
        codes[i] = convert.f32ToI32(math.max(math.min(math.nearest(weights[i]! / scale), 127), -127));
      }
    }
  }
}

function rounded(weights: Buffer<f32>, at: i32, scale: v128): v128 {
  return i32x4.truncSatF32x4S(f32x4.nearest(f32x4.div(v128.load(weights, at), scale)));
}
