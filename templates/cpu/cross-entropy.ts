import { type Buffer, bits, type f32, f32x4, type i32, math, v128 } from "bitloom/kernel";
import { laneMaxF32, laneSumF32 } from "./lanes.ts";
import { exp, exp4, log, softmaxExp, softmaxExp4 } from "./math.ts";

/**
 * Cross-entropy of rows with their targets: log_sum = max + ln(sum e^(x - max)), loss = log_sum - x[target], or 0 where
 * the target is `ignored`. A target that is neither that nor a column gives a loss of NaN.
 *
 * @param logits f32[rows, k] with stride elements between rows
 * @param targets i32[rows]
 * @param loss f32[rows]
 * @param logSum f32[rows]
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function crossEntropy(
  logits: Buffer<f32>,
  targets: Buffer<i32>,
  loss: Buffer<f32>,
  logSum: Buffer<f32>,
  k: i32,
  stride: i32,
  ignored: i32,
  begin: i32,
  end: i32,
): void {
  const whole = k & -4;
  for (let row = begin; row < end; row++) {
    const from = row * stride;
    let lanes = f32x4.splat(-Infinity);
    for (let i: i32 = 0; i < whole; i += 4) lanes = f32x4.pmax(lanes, v128.load(logits, from + i));
    let largest = laneMaxF32(lanes);
    for (let i = whole; i < k; i++) largest = math.max(largest, logits[from + i]!);
    let partial = f32x4.splat(0);
    for (let i: i32 = 0; i < whole; i += 4) {
      partial = f32x4.add(partial, softmaxExp4(f32x4.sub(v128.load(logits, from + i), f32x4.splat(largest))));
    }
    let sum = laneSumF32(partial);
    for (let i = whole; i < k; i++) sum += softmaxExp(logits[from + i]! - largest);
    const total = largest + log(sum);
    logSum[row] = total;
    const target = targets[row]!;
    if (target === ignored) loss[row] = 0;
    else if (target < 0 || target >= k) loss[row] = bits.i32ToF32(0x7fc00000);
    else loss[row] = total - logits[from + target]!;
  }
}

/**
 * Gradient of {@link crossEntropy} by the logits: (e^(x - log_sum) - [target]) * g, or 0 where the target is `ignored`.
 *
 * @param logits f32[rows, k] with stride elements between rows
 * @param targets i32[rows]
 * @param logSum f32[rows]
 * @param g f32[rows]
 * @param out f32[rows, k], contiguous
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function crossEntropyGradient(
  logits: Buffer<f32>,
  targets: Buffer<i32>,
  logSum: Buffer<f32>,
  g: Buffer<f32>,
  out: Buffer<f32>,
  k: i32,
  stride: i32,
  ignored: i32,
  begin: i32,
  end: i32,
): void {
  const whole = k & -4;
  for (let row = begin; row < end; row++) {
    const from = row * stride;
    const to = row * k;
    const target = targets[row]!;
    if (target === ignored) {
      for (let i: i32 = 0; i < whole; i += 4) v128.store(out, to + i, f32x4.splat(0));
      for (let i = whole; i < k; i++) out[to + i] = 0;
    } else {
      const total = logSum[row]!;
      const factor = g[row]!;
      for (let i: i32 = 0; i < whole; i += 4) {
        const probability = exp4(f32x4.sub(v128.load(logits, from + i), f32x4.splat(total)));
        v128.store(out, to + i, f32x4.mul(probability, f32x4.splat(factor)));
      }
      for (let i = whole; i < k; i++) out[to + i] = exp(logits[from + i]! - total) * factor;
      if (target >= 0 && target < k) {
        out[to + target] = (exp(logits[from + target]! - total) - 1) * factor;
      }
    }
  }
}
