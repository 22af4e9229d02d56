import {
  type Buffer,
  convert,
  type f32,
  f32x4,
  type i32,
  math,
  registers,
  select,
  unroll,
  v128,
} from "bitloom/kernel";
import { laneSumF32 } from "./lanes.ts";

/**
 * Gradient of RMSNorm by its input: with r = 1 / sqrt(mean(x^2) + eps) and h = g * w,
 * dx = r * (h - x * r^2 * mean(h * x)). Leaves r of each row for {@link rmsNormWeightGradient}.
 *
 * @param x f32[rows, k] with xStride elements between rows
 * @param weight f32[k]
 * @param g f32[rows, k] with gStride elements between rows
 * @param dx f32[rows, k], contiguous
 * @param roots f32[rows]
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function rmsNormGradient(
  x: Buffer<f32>,
  weight: Buffer<f32>,
  g: Buffer<f32>,
  dx: Buffer<f32>,
  roots: Buffer<f32>,
  k: i32,
  xStride: i32,
  gStride: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {
  const whole = k & -4;
  const count = convert.i32ToF32(k);
  for (let row = begin; row < end; row++) {
    const xRow = row * xStride;
    const gRow = row * gStride;
    let squareLanes = f32x4.splat(0);
    let productLanes = f32x4.splat(0);
    for (let i: i32 = 0; i < whole; i += 4) {
      const value = v128.load(x, xRow + i);
      const h = f32x4.mul(v128.load(g, gRow + i), v128.load(weight, i));
      squareLanes = f32x4.add(squareLanes, f32x4.mul(value, value));
      productLanes = f32x4.add(productLanes, f32x4.mul(h, value));
    }
    let squares = laneSumF32(squareLanes);
    let products = laneSumF32(productLanes);
    for (let i = whole; i < k; i++) {
      const value = x[xRow + i]!;
      squares += value * value;
      products += g[gRow + i]! * weight[i]! * value;
    }
    const r: f32 = 1 / math.sqrt(squares / count + eps);
    const pull = (r * r * products) / count;
    roots[row] = r;
    for (let i: i32 = 0; i < whole; i += 4) {
      const h = f32x4.mul(v128.load(g, gRow + i), v128.load(weight, i));
      const pulled = f32x4.sub(h, f32x4.mul(v128.load(x, xRow + i), f32x4.splat(pull)));
      v128.store(dx, row * k + i, f32x4.mul(pulled, f32x4.splat(r)));
    }
    for (let i = whole; i < k; i++) {
      dx[row * k + i] = r * (g[gRow + i]! * weight[i]! - x[xRow + i]! * pull);
    }
  }
}

/** Columns of one work item: a cache line. */
const ITEM_COLUMNS = 16;

/**
 * Gradient of RMSNorm by its weight: dw = sum over rows of g * x * r.
 *
 * @param x f32[rows, k] with xStride elements between rows
 * @param g f32[rows, k] with gStride elements between rows
 * @param roots f32[rows] of {@link rmsNormGradient}
 * @param dw f32[k]
 * @param begin first item; an item is 16 columns, ceil(k/16) in all
 * @param end one past the last item
 */
export function rmsNormWeightGradient(
  x: Buffer<f32>,
  g: Buffer<f32>,
  roots: Buffer<f32>,
  dw: Buffer<f32>,
  rows: i32,
  k: i32,
  xStride: i32,
  gStride: i32,
  begin: i32,
  end: i32,
): void {
  for (let item = begin; item < end; item++) {
    const first = item * ITEM_COLUMNS;
    const last = select(first + ITEM_COLUMNS < k, first + ITEM_COLUMNS, k);
    const whole = select(first + ITEM_COLUMNS === last, last, first);
    if (whole > first) {
      const sums = registers(4, f32x4.splat(0));
      for (let row: i32 = 0; row < rows; row++) {
        const root = v128.load32Splat(roots, row);
        for (const u of unroll(4)) {
          const gradient = v128.load(g, row * gStride + first + 4 * u);
          const product = f32x4.mul(gradient, v128.load(x, row * xStride + first + 4 * u));
          sums[u] = f32x4.add(sums[u]!, f32x4.mul(product, root));
        }
      }
      for (const u of unroll(4)) v128.store(dw, first + 4 * u, sums[u]!);
    }
    for (let i = whole; i < last; i++) {
      let sum: f32 = 0;
      for (let row: i32 = 0; row < rows; row++) {
        sum += g[row * gStride + i]! * x[row * xStride + i]! * roots[row]!;
      }
      dw[i] = sum;
    }
  }
}
