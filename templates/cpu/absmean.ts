import {
  type Buffer,
  convert,
  type f32,
  f32x4,
  type f64,
  f64x2,
  type i32,
  math,
  shuffle,
  v128,
} from "bitloom/kernel";

/**
 * The sum of magnitudes of each group of a row, in f64: what absmean divides by the group's length.
 * A sum is NaN or infinite exactly if a weight of the group is.
 *
 * @param weights f32[rows, k]
 * @param sums f64[rows, ceil(k/groupSize)]
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function absmeanSums(
  weights: Buffer<f32>,
  sums: Buffer<f64>,
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
      sums[group] = magnitudeSum(weights, first, last);
      group++;
    }
  }
}

/** sum |weights[i]| over first <= i < last, on eight chains of additions. */
function magnitudeSum(weights: Buffer<f32>, first: i32, last: i32): f64 {
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  let c = f64x2.splat(0);
  let d = f64x2.splat(0);
  const whole = first + ((last - first) & -8);
  for (let i = first; i < whole; i += 8) {
    const low = f32x4.abs(v128.load(weights, i));
    const high = f32x4.abs(v128.load(weights, i + 4));
    a = f64x2.add(a, f64x2.promoteLowF32x4(low));
    b = f64x2.add(b, f64x2.promoteLowF32x4(upperHalf(low)));
    c = f64x2.add(c, f64x2.promoteLowF32x4(high));
    d = f64x2.add(d, f64x2.promoteLowF32x4(upperHalf(high)));
  }
  const lanes = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  let sum: f64 = f64x2.extractLane(lanes, 0) + f64x2.extractLane(lanes, 1);
  for (let i = whole; i < last; i++) sum += convert.f32ToF64(math.abs(weights[i]!));
  return sum;
}

function upperHalf(lanes: v128): v128 {
  return shuffle(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
}
