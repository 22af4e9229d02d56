import {
  type Buffer,
  convert,
  type f32,
  type i32,
  inverseSqrt,
  localId,
  type Static,
  select,
  shared,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { type ColumnOptions, combineMembers } from "./reduce.ts";
import { type WorkgroupOptions, workgroupSum } from "./workgroup.ts";

/**
 * Gradient of RMSNorm by its input: with r = 1 / sqrt(mean(x^2) + eps) and h = g * w,
 * dx = r * (h - x * r^2 * mean(h * x)). Leaves r of each row for {@link rmsNormWeightGradient}.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param x f32[rows, k] with xStride elements between rows
 * @param weight f32[k]
 * @param g f32[rows, k] with gStride elements between rows
 * @param dx f32[rows, k], contiguous
 * @param roots f32[rows]
 */
export function rmsNormGradient(
  options: Static<WorkgroupOptions>,
  x: Buffer<f32>,
  weight: Buffer<f32>,
  g: Buffer<f32>,
  dx: Buffer<f32>,
  roots: Buffer<f32>,
  rows: i32,
  k: i32,
  xStride: i32,
  gStride: i32,
  eps: f32,
): void {
  const slots = shared<f32>(options.workgroupSize);
  const zero: f32 = 0;
  const count = convert.i32ToF32(k);
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    let squares: f32 = 0;
    let products: f32 = 0;
    for (let i = localId(); i < k; i += options.workgroupSize) {
      const value = x[row * xStride + i]!;
      squares += value * value;
      products += g[row * gStride + i]! * weight[i]! * value;
    }
    const r = inverseSqrt(workgroupSum(options, slots, zero, squares) / count + eps);
    const pull = (r * r * workgroupSum(options, slots, zero, products)) / count;
    if (localId() === 0) roots[row] = r;
    for (let i = localId(); i < k; i += options.workgroupSize) {
      dx[row * k + i] = r * (g[row * gStride + i]! * weight[i]! - x[row * xStride + i]! * pull);
    }
  }
}

/**
 * Gradient of RMSNorm by its weight: dw = sum over rows of g * x * r, in an order that only the options and `rows`
 * decide.
 *
 * Grid: a workgroup takes `columns` neighbouring elements of dw, then every workgroupCount-th such piece.
 *
 * @param x f32[rows, k] with xStride elements between rows
 * @param g f32[rows, k] with gStride elements between rows
 * @param roots f32[rows] of {@link rmsNormGradient}
 * @param dw f32[k]
 */
export function rmsNormWeightGradient(
  options: Static<ColumnOptions>,
  x: Buffer<f32>,
  g: Buffer<f32>,
  roots: Buffer<f32>,
  dw: Buffer<f32>,
  rows: i32,
  k: i32,
  xStride: i32,
  gStride: i32,
): void {
  const { workgroupSize, columns } = options;
  const slots = shared<f32>(workgroupSize);
  const member = localId() / columns;
  const pieces = (k + columns - 1) / columns;
  for (let piece = workgroupId(); piece < pieces; piece += workgroupCount()) {
    const column = piece * columns + (localId() % columns);
    // Columns past the last repeat it; their results are dropped.
    const i = select(column < k, column, k - 1);
    let sum: f32 = 0;
    for (let row = member; row < rows; row += workgroupSize / columns) {
      sum += g[row * gStride + i]! * x[row * xStride + i]! * roots[row]!;
    }
    sum = combineMembers(options, slots, sum, (a: f32, b: f32) => a + b);
    if (member === 0 && column < k) dw[column] = sum;
  }
}
