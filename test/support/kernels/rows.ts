/** What kernels that work on rows must give, whatever the target. */
import fc from "fast-check";
import { expect } from "vitest";

/** Fails unless out = weight * x / sqrt(mean(x^2) + eps) within tier T2 of the numerics contract. */
export function expectNormalized(
  out: Float32Array,
  x: Float32Array,
  weight: Float32Array,
  rows: number,
  k: number,
  eps: number,
): void {
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < k; i++) squares += x[row * k + i]! ** 2;
    const factor = 1 / Math.sqrt(squares / k + eps);
    for (let i = 0; i < k; i++) {
      const exact = weight[i]! * x[row * k + i]! * factor;
      const tolerance = (Math.log2(k) + 4) * 2 ** -24 + 2 ** -22;
      expect(Math.abs(out[row * k + i]! - exact)).toBeLessThanOrEqual(Math.abs(exact) * tolerance);
    }
  }
}

/** Scores for softmax, some of them as far apart as can be. */
export const anyScore = fc.oneof(
  fc.float({ min: -30, max: 30, noNaN: true }),
  fc.constantFrom(-1e30, 1e30, 0),
);

/** Fails unless out = softmax(x) within tier T2; `smallest` is the least number that the target distinguishes from 0. */
export function expectSoftmax(
  out: Float32Array,
  x: Float32Array,
  rows: number,
  k: number,
  smallest: number,
): void {
  for (let row = 0; row < rows; row++) {
    const values = [...x.subarray(row * k, (row + 1) * k)];
    const largest = Math.max(...values);
    const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
    values.forEach((value, i) => {
      const exact = Math.exp(value - largest) / sum;
      const error = Math.abs(out[row * k + i]! - exact);
      expect(error).toBeLessThanOrEqual(2 ** -20);
      // The reduction x - max is exact in neither: its rounding is relative to x.
      expect(error).toBeLessThanOrEqual(exact * 1e-5 + smallest);
    });
  }
}

/** Rotary embedding of x [batch, seq, heads, dim] by rows positions[b] + t of the tables, each step rounded. */
export function rotate(
  { batch, seq, heads, dim }: { batch: number; seq: number; heads: number; dim: number },
  x: Float32Array,
  xStride: number,
  cos: Float32Array,
  sin: Float32Array,
  positions: Int32Array,
): Float32Array {
  const f = Math.fround;
  const half = dim / 2;
  const out = new Float32Array(batch * seq * heads * dim);
  for (let row = 0; row < batch * seq; row++) {
    const table = (positions[Math.floor(row / seq)]! + (row % seq)) * half;
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < half; i++) {
        const [c, s] = [cos[table + i]!, sin[table + i]!];
        const low = x[row * xStride + h * dim + i]!;
        const high = x[row * xStride + h * dim + half + i]!;
        const at = (row * heads + h) * dim + i;
        out[at] = f(f(low * c) - f(high * s));
        out[at + half] = f(f(high * c) + f(low * s));
      }
    }
  }
  return out;
}
