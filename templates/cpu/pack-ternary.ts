import {
  type Buffer,
  convert,
  type f32,
  f32x4,
  i8x16,
  i16x8,
  type i32,
  i32x4,
  math,
  type u8,
  v128,
} from "bitloom/kernel";

/**
 * Quantizes rows of weights to ternary codes in the interleaved block layout:
 * code = clamp(RNE(RN(w * RN(1/alpha))), -1, 1), stored as code + 1 in two bits.
 *
 * A block of 16 bytes holds 64 weights of one row, byte j the weights j, 16+j, 32+j, 48+j at bits 0, 2, 4, 6;
 * four rows are interleaved. Each group is padded to whole blocks with code 0.
 *
 * @param weights f32[rows, k]
 * @param alphas f32, alpha of group g of row r at r * alphaStride + g
 * @param codes packed rows, of which row 0 of `weights` is row `firstRow`
 * @param alphaStride ceil(k/groupSize), or 0 where all rows share one
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function packTernary(
  weights: Buffer<f32>,
  alphas: Buffer<f32>,
  codes: Buffer<u8>,
  k: i32,
  groupSize: i32,
  alphaStride: i32,
  firstRow: i32,
  begin: i32,
  end: i32,
): void {
  const groupBlocks = (groupSize + 63) >> 6;
  const tail = k % groupSize;
  const blocks = (k / groupSize) * groupBlocks + ((tail + 63) >> 6);
  for (let row = begin; row < end; row++) {
    const n = firstRow + row;
    let out = (n >> 2) * blocks * 64 + (n & 3) * 16;
    let alpha = row * alphaStride;
    for (let start = 0; start < k; start += groupSize) {
      const inverse: f32 = 1 / alphas[alpha]!;
      const lanes = f32x4.splat(inverse);
      alpha++;
      const first = row * k + start;
      const last = row * k + (start + groupSize < k ? start + groupSize : k);
      const whole = first + ((last - first) & -64);
      for (let i = first; i < whole; i += 64) {
        v128.store(
          codes,
          out,
          v128.or(
            v128.or(sixteenCodes(weights, i, lanes), i8x16.shl(sixteenCodes(weights, i + 16, lanes), 2)),
            v128.or(
              i8x16.shl(sixteenCodes(weights, i + 32, lanes), 4),
              i8x16.shl(sixteenCodes(weights, i + 48, lanes), 6),
            ),
          ),
        );
        out += 64;
      }
      if (whole < last) {
        for (let j = 0; j < 16; j++) {
          codes[out + j] =
            codeOrPad(weights, whole + j, last, inverse) |
            (codeOrPad(weights, whole + j + 16, last, inverse) << 2) |
            (codeOrPad(weights, whole + j + 32, last, inverse) << 4) |
            (codeOrPad(weights, whole + j + 48, last, inverse) << 6);
        }
        out += 64;
      }
    }
  }
}

/** Codes 0, 1, 2 of 16 weights, one a byte; narrowing saturates, so only the last clamp is written. */
function sixteenCodes(weights: Buffer<f32>, at: i32, inverse: v128): v128 {
  const low = i16x8.narrowI32x4S(rounded(weights, at, inverse), rounded(weights, at + 4, inverse));
  const high = i16x8.narrowI32x4S(rounded(weights, at + 8, inverse), rounded(weights, at + 12, inverse));
  const clamped = i8x16.minS(i8x16.maxS(i8x16.narrowI16x8S(low, high), i8x16.splat(-1)), i8x16.splat(1));
  return i8x16.add(clamped, i8x16.splat(1));
}

function rounded(weights: Buffer<f32>, at: i32, inverse: v128): v128 {
  return i32x4.truncSatF32x4S(f32x4.nearest(f32x4.mul(v128.load(weights, at), inverse)));
}

function codeOrPad(weights: Buffer<f32>, at: i32, last: i32, inverse: f32): i32 {
  if (at >= last) return 1;
  return convert.f32ToI32(math.max(math.min(math.nearest(weights[at]! * inverse), 1), -1)) + 1;
}
