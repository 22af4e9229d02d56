/**
 * The numerics contract's quantizers and accumulations, one obvious loop each. RN is round to nearest even
 * f32 (`Math.fround`), RNE is round half to even to an integer.
 */
import { BitloomError } from "../errors/index.ts";
import type { Tensor } from "./tensor.ts";
import { encodedTensor, f32FromBits, roundHalfEven, scaleAt } from "./tensor.ts";
import type { ScaleGranularity } from "./types.ts";
import { scaleCount } from "./types.ts";

const RN = Math.fround;

/** The smallest scale of weights and activations: what a zero row divides by. */
export const SCALE_FLOOR = RN(1e-5);

/** The bits of 2^126: above, 1/a would be subnormal; infinity and NaN compare above it too. */
const LARGEST_GOOD_BITS = 0x7e800000;

/** The longest i32 accumulation: beyond it, sums of int8 * ternary products are not all exact as f32. */
export const MAX_ACCUMULATION = 131_072;

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** The largest |x| as bits: unsigned comparison of IEEE magnitudes is exact and puts NaN above everything. */
function absmaxBits(x: Float32Array): number {
  let largest = 0;
  for (const bits of new Uint32Array(x.buffer, x.byteOffset, x.length)) {
    largest = Math.max(largest, bits & 0x7fffffff);
  }
  return largest;
}

/**
 * What an activation is multiplied with to become a code (s), and a code to become an activation (d), for an
 * absmax given by its bits: a = max(absmax, 1e-5), s = RN(qmax * RN(1/a)), d = RN(a * RN(1/qmax)) with
 * qmax = 2^(bits-1) - 1. Both are NaN for an absmax that is NaN, infinite or above 2^126.
 */
export function activationScales(
  magnitude: number,
  bits: number,
): { readonly s: number; readonly d: number } {
  if (magnitude > LARGEST_GOOD_BITS) return { s: Number.NaN, d: Number.NaN };
  const a = Math.max(f32FromBits(magnitude), SCALE_FLOOR);
  const qmax = 2 ** (bits - 1) - 1;
  return { s: RN(qmax * RN(1 / a)), d: RN(a * RN(1 / qmax)) };
}

export interface QuantizedRows {
  /** [rows, k] */
  readonly codes: Int8Array;
  /** d: what a code is multiplied with, one a row. */
  readonly scales: Float32Array;
  /** The sum of each row's codes. */
  readonly sums: Int32Array;
}

/**
 * Absmax quantization of rows of `k` f32 to signed codes of `bits` bits, with the scales of each row or of
 * everything: code = clamp(RNE(RN(x * s)), -(qmax+1), qmax). Where the scales are NaN the codes are 0.
 */
export function quantizeRows(
  x: Float32Array,
  k: number,
  bits: number,
  granularity: "row" | "tensor",
): QuantizedRows {
  const rows = x.length / k;
  const codes = new Int8Array(x.length);
  const scales = new Float32Array(rows);
  const sums = new Int32Array(rows);
  const qmax = 2 ** (bits - 1) - 1;
  const whole = granularity === "tensor" ? absmaxBits(x) : undefined;
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * k, (row + 1) * k);
    const { s, d } = activationScales(whole ?? absmaxBits(values), bits);
    scales[row] = d;
    if (Number.isNaN(d)) continue;
    for (let i = 0; i < k; i++) {
      const code = clamp(roundHalfEven(RN(values[i]! * s)), -(qmax + 1), qmax);
      codes[row * k + i] = code;
      sums[row]! += code;
    }
  }
  return { codes, scales, sums };
}

/**
 * Absmean quantization of weights [n, k] to ternary. Per tensor, row or group of columns (a tail group uses
 * its own length): alpha = max(RN(sum|w| / count), 1e-5), the sum in f64 in ascending index order;
 * code = clamp(RNE(RN(w * RN(1/alpha))), -1, 1). Throws INVALID_WEIGHTS when a weight is not finite.
 */
export function absmean(w: Float32Array, n: number, k: number, scale: ScaleGranularity): Tensor {
  const codes = new Int8Array(w.length);
  const scales = new Float32Array(scaleCount(scale, n, k));
  const quantizeSpan = (begin: number, end: number, index: number) => {
    let sum = 0;
    for (let i = begin; i < end; i++) sum += Math.abs(w[i]!);
    if (!Number.isFinite(sum)) {
      const bad = begin + w.subarray(begin, end).findIndex((value) => !Number.isFinite(value));
      throw new BitloomError("INVALID_WEIGHTS", "Weights to be quantized must be finite", {
        received: `${w[bad]} at row ${Math.floor(bad / k)}, column ${bad % k}`,
      });
    }
    const alpha = Math.max(RN(sum / (end - begin)), SCALE_FLOOR);
    const inverse = RN(1 / alpha);
    scales[index] = alpha;
    for (let i = begin; i < end; i++) codes[i] = clamp(roundHalfEven(RN(w[i]! * inverse)), -1, 1);
  };
  if (scale === "tensor") quantizeSpan(0, n * k, 0);
  else {
    const group = scale === "row" ? k : scale.group;
    let index = 0;
    for (let row = 0; row < n; row++)
      for (let column = 0; column < k; column += group)
        quantizeSpan(row * k + column, row * k + Math.min(k, column + group), index++);
  }
  return encodedTensor({ dtype: "f32", dims: [n, k], encoding: { kind: "ternary", scale } }, codes, scales);
}

/**
 * Weights [n, k] to int8 codes with a scale a row: scale = RN(max|row| / 127),
 * code = clamp(RNE(RN(w / scale)), -127, 127); a zero row has scale 0 and codes 0.
 * Throws INVALID_WEIGHTS when a weight is not finite.
 */
export function quantizeInt8Rows(w: Float32Array, n: number, k: number): Tensor {
  const codes = new Int8Array(w.length);
  const scales = new Float32Array(n);
  for (let row = 0; row < n; row++) {
    const values = w.subarray(row * k, (row + 1) * k);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw new BitloomError("INVALID_WEIGHTS", "Weights to be quantized must be finite", {
        received: `${values[bad]} at row ${row}, column ${bad}`,
      });
    }
    const scale = RN(f32FromBits(absmaxBits(values)) / 127);
    scales[row] = scale;
    if (scale === 0) continue;
    for (let i = 0; i < k; i++) codes[row * k + i] = clamp(roundHalfEven(RN(values[i]! / scale)), -127, 127);
  }
  return encodedTensor(
    { dtype: "f32", dims: [n, k], encoding: { kind: "int8", scale: "row" } },
    codes,
    scales,
  );
}

/**
 * Codes [rows, k] times ternary weights [n, k], by the accumulator's own type: exact i32, or for group scales
 * the f32 sum over groups in ascending order of RN(f32(acc_g) * alpha_g), each addition rounded.
 */
export function ternaryAccumulate(codes: Int8Array, rows: number, weight: Tensor): Int32Array | Float32Array {
  const [n = 0, k = 0] = weight.type.dims;
  const { scale } = weight.type.encoding!;
  const grouped = typeof scale === "object";
  const group = grouped ? scale.group : k;
  const out = grouped ? new Float32Array(rows * n) : new Int32Array(rows * n);
  const w = weight.data;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < n; column++) {
      let total = 0;
      for (let begin = 0; begin < k; begin += group) {
        const end = Math.min(k, begin + group);
        let sum = 0;
        for (let i = begin; i < end; i++) sum += codes[row * k + i]! * w[column * k + i]!;
        if (grouped) {
          const product = RN(sum * scaleAt(weight, column, begin));
          total = begin === 0 ? product : RN(total + product);
        } else total = sum;
      }
      out[row * n + column] = total;
    }
  }
  return out;
}

/**
 * RMSNorm of rows of `k`: y = RN(w * RN(x * r)), r = rsqrt(RN(mean(x^2) + eps)) in f32. The mean's sum is in
 * f64, rounded once: any f32 summation order lies within the contract's tolerance of it.
 */
export function normalizeRows(x: Float32Array, k: number, weight: Float32Array, eps: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let begin = 0; begin < x.length; begin += k) {
    let squares = 0;
    for (let i = 0; i < k; i++) squares += x[begin + i]! * x[begin + i]!;
    const r = RN(1 / RN(Math.sqrt(RN(RN(squares / k) + RN(eps)))));
    for (let i = 0; i < k; i++) out[begin + i] = weight[i]! * RN(x[begin + i]! * r);
  }
  return out;
}

/** e^(x - max) / sum, the sum in f64 rounded once. */
export function softmaxRow(row: Float32Array): Float32Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const x of row) largest = Math.max(largest, x);
  const exponentials = row.map((x) => Math.exp(RN(x - largest)));
  let sum = 0;
  for (const e of exponentials) sum += e;
  const total = RN(sum);
  return exponentials.map((e) => e / total);
}
