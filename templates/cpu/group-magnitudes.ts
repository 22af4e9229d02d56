import { type Buffer, bits, type f32, type i32 } from "bitloom/kernel";
import { largestMagnitude } from "./magnitude.ts";

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
      const count = start + groupSize < k ? groupSize : k - start;
      magnitudes[group] = bits.i32ToF32(largestMagnitude(weights, first, count));
      group++;
    }
  }
}
