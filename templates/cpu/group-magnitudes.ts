import { type Buffer, type f32, f32x4, type i32, math, v128 } from "bitloom/kernel";

/**
 * The largest magnitude of each group of a row: the scale of weights that are already 0 or +-scale.
 *
 * @param weights f32[rows, k], finite
 * @param magnitudes f32[rows, ceil(k/groupSize)]
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function groupMagnitudes(
  weights: Buffer<f32>,
  magnitudes: Buffer<f32>,
  k: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {
  const groups = (k + groupSize - 1) / groupSize;
  for (let row = begin; row < end; row++) {
    let group = row * groups;
    for (let start = 0; start < k; start += groupSize) {
      const first = row * k + start;
      const last = row * k + (start + groupSize < k ? start + groupSize : k);
      magnitudes[group] = largestMagnitude(weights, first, last);
      group++;
    }
  }
}

function largestMagnitude(weights: Buffer<f32>, first: i32, last: i32): f32 {
  let lanes = f32x4.splat(0);
  const whole = first + ((last - first) & -4);
  for (let i = first; i < whole; i += 4) lanes = f32x4.max(lanes, f32x4.abs(v128.load(weights, i)));
  let largest = math.max(
    math.max(f32x4.extractLane(lanes, 0), f32x4.extractLane(lanes, 1)),
    math.max(f32x4.extractLane(lanes, 2), f32x4.extractLane(lanes, 3)),
  );
  for (let i = whole; i < last; i++) largest = math.max(largest, math.abs(weights[i]!));
  return largest;
}
