import {
  type Buffer,
  convert,
  type f32,
  type f64,
  type i32,
  math,
  type Static,
  select,
} from "bitloom/kernel";

/** What a specialization of {@link absmeanScales} fixes. */
export interface AbsmeanScalesOptions {
  /** One scale for the whole weight, which every row repeats. */
  perTensor: boolean;
}

/**
 * Scales of absmean quantization from sums of magnitudes: alpha = max(RN(sum / count), 1e-5).
 *
 * @param sums f64[rows, groups] of `absmeanSums`
 * @param alphas f32[rows, groups]
 * @param scales f32[ceil(rows/4)][groups][4], as matrix products read them
 * @param groupSize weights per group; the last of a row may be shorter
 * @param begin first item; an item is a row, or all of them per tensor
 * @param end one past the last item
 */
export function absmeanScales(
  options: Static<AbsmeanScalesOptions>,
  sums: Buffer<f64>,
  alphas: Buffer<f32>,
  scales: Buffer<f32>,
  rows: i32,
  k: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {
  if (options.perTensor) {
    for (let item = begin; item < end; item++) {
      let total: f64 = 0;
      for (let row: i32 = 0; row < rows; row++) total += sums[row]!;
      const alpha = scaleOf(total / (convert.i32ToF64(rows) * convert.i32ToF64(k)));
      for (let row: i32 = 0; row < rows; row++) {
        alphas[row] = alpha;
        scales[row] = alpha;
      }
    }
  } else {
    const groups = (k + groupSize - 1) / groupSize;
    for (let row = begin; row < end; row++) {
      for (let g: i32 = 0; g < groups; g++) {
        const rest = k - g * groupSize;
        const count = select(rest < groupSize, rest, groupSize);
        const alpha = scaleOf(sums[row * groups + g]! / convert.i32ToF64(count));
        alphas[row * groups + g] = alpha;
        scales[((row >> 2) * groups + g) * 4 + (row & 3)] = alpha;
      }
    }
  }
}

/** RN to f32 and the floor; NaN stays. */
function scaleOf(mean: f64): f32 {
  return math.max(convert.f64ToF32(mean), 1e-5);
}
