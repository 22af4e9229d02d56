import {
  type Buffer,
  type f32,
  type i32,
  localId,
  math,
  type Static,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { visibleKeys } from "./cached-keys.ts";
import { exp } from "./math.ts";
import { LOWEST } from "./softmax.ts";

export interface AttentionCombineOptions {
  workgroupSize: number;
}

/**
 * Brings together what the workgroups of attention-decode found for parts of the keys.
 *
 * Grid: an invocation takes an element, then every (workgroupCount * workgroupSize)-th of batch * heads * dim.
 *
 * @param partials f32[batch, heads, splits, dim + 2] as attention-decode leaves them
 * @param positions i32[batch]
 * @param out f32[batch, heads, dim]
 * @param splits ceil(capacity / keys)
 * @param keys keys of a split
 */
export function attentionCombine(
  options: Static<AttentionCombineOptions>,
  partials: Buffer<f32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  batch: i32,
  heads: i32,
  dim: i32,
  splits: i32,
  keys: i32,
  capacity: i32,
): void {
  const stride = workgroupCount() * options.workgroupSize;
  const elements = batch * heads * dim;
  for (let i = workgroupId() * options.workgroupSize + localId(); i < elements; i += stride) {
    out[i] = combinedAttention(partials, positions, heads, dim, splits, keys, capacity, i);
  }
}

/** One element of the output of attention; `index` counts those of [batch, heads, dim]. */
export function combinedAttention(
  partials: Buffer<f32>,
  positions: Buffer<i32>,
  heads: i32,
  dim: i32,
  splits: i32,
  keys: i32,
  capacity: i32,
  index: i32,
): f32 {
  const head = index / dim;
  const visible = visibleKeys({ cached: true }, positions, capacity, head / heads, 0);
  const used = (visible + keys - 1) / keys;
  const width = dim + 2;
  const first = head * splits * width;
  let largest: f32 = LOWEST;
  for (let split: i32 = 0; split < used; split++) {
    largest = math.max(largest, partials[first + split * width + dim]!);
  }
  let sum: f32 = 0;
  let value: f32 = 0;
  for (let split: i32 = 0; split < used; split++) {
    const from = first + split * width;
    const factor = exp(partials[from + dim]! - largest);
    sum += factor * partials[from + dim + 1]!;
    value += factor * partials[from + (index % dim)]!;
  }
  return value / sum;
}
