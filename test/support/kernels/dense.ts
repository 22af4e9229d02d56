/** Dense weights and their products, whatever the target. */
import { expect } from "vitest";
import { pseudoRandom } from "./floats.ts";

/** What 16 bits stand for. */
export function f16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
function bf16Value(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

/** Weights in memory and their values [n, k]; with int8 each value is a code times its row's scale. */
export interface Dense {
  readonly bytes: Uint8Array;
  readonly values: Float64Array;
  readonly scales: Float32Array;
}

/** Weights of a kind; codes cover the whole range of finite ones of moderate size. */
export function denseWeights(kind: string, n: number, k: number): Dense {
  const scales = Float32Array.from({ length: n }, (_, i) => 0.01 + i / 100);
  const reals = pseudoRandom(n * k, 1, 3);
  if (kind === "f32") {
    return { bytes: new Uint8Array(reals.buffer), values: Float64Array.from(reals), scales };
  }
  if (kind === "int8") {
    const codes = Int8Array.from(reals, (x) => Math.round(x * 127));
    const values = Float64Array.from(codes, (code, i) => code * scales[Math.floor(i / k)]!);
    // Sixteen bytes of slack, with junk.
    const bytes = new Uint8Array(n * k + 16).fill(200);
    bytes.set(new Uint8Array(codes.buffer));
    return { bytes, values, scales };
  }
  const codes = Uint16Array.from(reals, (x, i) => {
    if (kind === "bf16") return new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16;
    // Some f16 denormals among normal numbers.
    return i % 5 === 0 ? i & 0x83ff : (x < 0 ? 0x8000 : 0) | ((12 + (i % 4)) << 10) | (i & 1023);
  });
  const decode = kind === "bf16" ? bf16Value : f16Value;
  return { bytes: new Uint8Array(codes.buffer), values: Float64Array.from(codes, decode), scales };
}

/** Checks out[m, n] against x [m, k] times values [n, k] with the error bound of a sum in any order. */
export function expectProduct(
  out: Float32Array,
  x: Float32Array,
  xStride: number,
  values: Float64Array,
  n: number,
  k: number,
) {
  for (let i = 0; i < out.length; i++) {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = 0;
    let magnitude = 0;
    for (let j = 0; j < k; j++) {
      const product = x[row * xStride + j]! * values[column * k + j]!;
      sum += product;
      magnitude += Math.abs(product);
    }
    expect(Math.abs(out[i]! - sum)).toBeLessThanOrEqual((k + 3) * 2 ** -24 * magnitude);
  }
}
