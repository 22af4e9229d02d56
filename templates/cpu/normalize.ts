import {
  type Buffer,
  convert,
  type f32,
  f32x4,
  type i32,
  math,
  registers,
  unroll,
  v128,
} from "bitloom/kernel";
import { laneSumF32 } from "./lanes.ts";

/** sum x^2 over `k` elements from `start` on; sixteen partial sums. */
function squares(x: Buffer<f32>, start: i32, k: i32): f32 {
  const acc = registers(4, f32x4.splat(0));
  const whole = k & -16;
  for (let i: i32 = 0; i < whole; i += 16) {
    for (const u of unroll(4)) {
      const value = v128.load(x, start + i + 4 * u);
      acc[u] = f32x4.add(acc[u]!, f32x4.mul(value, value));
    }
  }
  let sum = laneSumF32(f32x4.add(f32x4.add(acc[0]!, acc[1]!), f32x4.add(acc[2]!, acc[3]!)));
  for (let i = whole; i < k; i++) sum += x[start + i]! * x[start + i]!;
  return sum;
}

/** Root mean square normalization in place: x = weight * (x * (1 / sqrt(mean(x^2) + eps))). */
export function normalize(x: Buffer<f32>, start: i32, weight: Buffer<f32>, k: i32, eps: f32): void {
  const mean = squares(x, start, k) / convert.i32ToF32(k);
  const factor: f32 = 1 / math.sqrt(mean + eps);
  const factors = f32x4.splat(factor);
  const whole = k & -4;
  for (let i: i32 = 0; i < whole; i += 4) {
    const h = f32x4.mul(v128.load(x, start + i), factors);
    v128.store(x, start + i, f32x4.mul(v128.load(weight, i), h));
  }
  for (let i = whole; i < k; i++) x[start + i] = weight[i]! * (x[start + i]! * factor);
}
