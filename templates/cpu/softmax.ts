import { type Buffer, type f32, f32x4, type i32, math, type Static, v128 } from "bitloom/kernel";
import { laneMaxF32, laneSumF32 } from "./lanes.ts";
import { softmaxExp, softmaxExp4 } from "./math.ts";
import { evaluateRow, type RowOptions } from "./row-values.ts";

/**
 * Softmax of rows: out = e^(x - max x) / sum e^(x - max x), x = prologue.
 *
 * @param out f32[rows, k], contiguous; may be the buffer that the prologue reads at the same (row, column)
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function softmax(options: Static<RowOptions>, out: Buffer<f32>, k: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    evaluateRow(options, out, row * k, row, k);
    const sum = exponentials(out, row * k, k, 1);
    const whole = k & -4;
    for (let i: i32 = 0; i < whole; i += 4) {
      v128.store(out, row * k + i, f32x4.div(v128.load(out, row * k + i), f32x4.splat(sum)));
    }
    for (let i = whole; i < k; i++) out[row * k + i] = out[row * k + i]! / sum;
  }
}

/**
 * Replaces k >= 1 scores from `start` on by e^(scale * x - max(scale * x)) and gives their sum. Shared with
 * attention, whose scores come unscaled.
 */
export function exponentials(x: Buffer<f32>, start: i32, k: i32, scale: f32): f32 {
  const whole = k & -4;
  const scales = f32x4.splat(scale);
  let lanes = f32x4.splat(-Infinity);
  for (let i: i32 = 0; i < whole; i += 4) {
    const scaled = f32x4.mul(v128.load(x, start + i), scales);
    v128.store(x, start + i, scaled);
    lanes = f32x4.pmax(lanes, scaled);
  }
  let largest = laneMaxF32(lanes);
  for (let i = whole; i < k; i++) {
    const scaled = x[start + i]! * scale;
    x[start + i] = scaled;
    largest = math.max(largest, scaled);
  }
  let partial = f32x4.splat(0);
  for (let i: i32 = 0; i < whole; i += 4) {
    const e = softmaxExp4(f32x4.sub(v128.load(x, start + i), f32x4.splat(largest)));
    v128.store(x, start + i, e);
    partial = f32x4.add(partial, e);
  }
  let sum = laneSumF32(partial);
  for (let i = whole; i < k; i++) {
    const e = softmaxExp(x[start + i]! - largest);
    x[start + i] = e;
    sum += e;
  }
  return sum;
}
