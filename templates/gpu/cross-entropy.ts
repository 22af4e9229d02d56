import {
  type Buffer,
  bits,
  type f32,
  type i32,
  localId,
  math,
  type Static,
  select,
  shared,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { exp, log } from "./math.ts";
import { LOWEST } from "./softmax.ts";
import { type WorkgroupOptions, workgroupMax, workgroupSum } from "./workgroup.ts";

/**
 * Cross-entropy of rows with their targets: log_sum = max + ln(sum e^(x - max)), loss = log_sum - x[target], or 0 where
 * the target is `ignored`. A target that is neither that nor a column gives a loss of NaN.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param logits f32[rows, k] with stride elements between rows
 * @param targets i32[rows]
 * @param loss f32[rows]
 * @param logSum f32[rows]
 */
export function crossEntropy(
  options: Static<WorkgroupOptions>,
  logits: Buffer<f32>,
  targets: Buffer<i32>,
  loss: Buffer<f32>,
  logSum: Buffer<f32>,
  rows: i32,
  k: i32,
  stride: i32,
  ignored: i32,
): void {
  const slots = shared<f32>(options.workgroupSize);
  const zero: f32 = 0;
  const lowest: f32 = LOWEST;
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const from = row * stride;
    let largest = lowest;
    for (let i = localId(); i < k; i += options.workgroupSize) {
      largest = math.max(largest, logits[from + i]!);
    }
    largest = workgroupMax(options, slots, lowest, largest);
    let sum: f32 = 0;
    for (let i = localId(); i < k; i += options.workgroupSize) sum += exp(logits[from + i]! - largest);
    const total = largest + log(workgroupSum(options, slots, zero, sum));
    if (localId() === 0) {
      const target = targets[row]!;
      const known = target >= 0 && target < k;
      const found = bits.f32ToU32(total - logits[from + select(known, target, 0)]!);
      const cost = bits.u32ToF32(select(known, found, 0x7fc00000));
      logSum[row] = total;
      loss[row] = select(target === ignored, 0, cost);
    }
  }
}

/**
 * Gradient of {@link crossEntropy} by the logits: (e^(x - log_sum) - [target]) * g, or 0 where the target is `ignored`.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param logits f32[rows, k] with stride elements between rows
 * @param targets i32[rows]
 * @param logSum f32[rows]
 * @param g f32[rows]
 * @param out f32[rows, k], contiguous
 */
export function crossEntropyGradient(
  options: Static<{ workgroupSize: number }>,
  logits: Buffer<f32>,
  targets: Buffer<i32>,
  logSum: Buffer<f32>,
  g: Buffer<f32>,
  out: Buffer<f32>,
  rows: i32,
  k: i32,
  stride: i32,
  ignored: i32,
): void {
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const target = targets[row]!;
    const total = logSum[row]!;
    const factor = g[row]!;
    for (let i = localId(); i < k; i += options.workgroupSize) {
      const hit: f32 = select(i === target, 1, 0);
      const value = (exp(logits[row * stride + i]! - total) - hit) * factor;
      out[row * k + i] = select(target === ignored, 0, value);
    }
  }
}
