import {
  type Buffer,
  type f32,
  f32x4,
  type i32,
  i32x4,
  registers,
  select,
  unroll,
  v128,
} from "bitloom/kernel";
import { transpose } from "./lanes.ts";
import { softmaxExp4 } from "./math.ts";

/**
 * Eight queries of a causal attention that go over the keys together. What belongs to a (key, query) lies as
 * f32[key][8]: a vector has four queries, each sums over its own keys, and no sum crosses lanes.
 */
export const QUERIES = 8;

/** to[i][r] = a[r][i] for eight rows of `dim` elements, of which `rows` exist; the others repeat the first. */
export function transposeRows(
  a: Buffer<f32>,
  at: i32,
  stride: i32,
  rows: i32,
  dim: i32,
  to: Buffer<f32>,
  start: i32,
): void {
  const whole = dim & -4;
  const from = registers(QUERIES, at);
  for (const r of unroll(QUERIES)) from[r] = at + select(r < rows, r * stride, 0);
  for (const half of unroll(2)) {
    for (let i: i32 = 0; i < whole; i += 4) {
      const x = registers(4, f32x4.splat(0));
      for (const r of unroll(4)) x[r] = v128.load(a, from[4 * half + r]! + i);
      transpose(x);
      for (const c of unroll(4)) v128.store(to, start + (i + c) * QUERIES + 4 * half, x[c]!);
    }
  }
  for (let i = whole; i < dim; i++) {
    for (const r of unroll(QUERIES)) to[start + i * QUERIES + r] = a[from[r]! + i]!;
  }
}

/** to[key][r] = a[r] . b[key] for keys 0..count-1, where a is transposed; `to` has room for a multiple of four keys. */
export function dots(
  a: Buffer<f32>,
  at: i32,
  b: Buffer<f32>,
  bt: i32,
  bStride: i32,
  count: i32,
  dim: i32,
  to: Buffer<f32>,
  start: i32,
): void {
  const zero = f32x4.splat(0);
  for (let key: i32 = 0; key < count; key += 4) {
    const acc = registers(8, zero);
    const from = registers(4, bt);
    for (const u of unroll(4)) from[u] = bt + select(key + u < count, key + u, key) * bStride;
    let place = at;
    const addElement = (offset: number): void => {
      const low = v128.load(a, place + QUERIES * offset);
      const high = v128.load(a, place + QUERIES * offset + 4);
      for (const u of unroll(4)) {
        const x = v128.load32Splat(b, from[u]! + offset);
        acc[2 * u] = f32x4.add(acc[2 * u]!, f32x4.mul(x, low));
        acc[2 * u + 1] = f32x4.add(acc[2 * u + 1]!, f32x4.mul(x, high));
      }
    };
    for (let i: i32 = 1; i < dim; i += 2) {
      addElement(0);
      // Never taken, but engines that order instructions themselves keep fewer values alive across it.
      if (i > dim) break;
      addElement(1);
      for (const u of unroll(4)) from[u] = from[u]! + 2;
      place += 2 * QUERIES;
    }
    if (dim % 2 === 1) addElement(0);
    for (const i of unroll(8)) v128.store(to, start + key * QUERIES + 4 * i, acc[i]!);
  }
}

/**
 * Scores of queries first..first+7 with keys 0..count-1 to weights, the softmax of scale * score over the keys that a
 * query sees, which are those up to itself; the others have weight 0.
 */
export function softmaxLanes(x: Buffer<f32>, start: i32, count: i32, first: i32, scale: f32): void {
  const scales = f32x4.splat(scale);
  const unseen = f32x4.splat(-Infinity);
  for (const half of unroll(2)) {
    const from = start + 4 * half;
    const query = registers(1, i32x4.splat(4 * half));
    for (const lane of unroll(4)) query[0] = i32x4.replaceLane(query[0]!, lane, 4 * half + lane);
    let largest = unseen;
    for (let key: i32 = 0; key < count; key++) {
      let scaled = f32x4.mul(v128.load(x, from + key * QUERIES), scales);
      if (key > first)
        scaled = v128.bitselect(unseen, scaled, i32x4.gtS(i32x4.splat(key - first), query[0]!));
      v128.store(x, from + key * QUERIES, scaled);
      largest = f32x4.pmax(largest, scaled);
    }
    let sum = f32x4.splat(0);
    for (let key: i32 = 0; key < count; key++) {
      const e = softmaxExp4(f32x4.sub(v128.load(x, from + key * QUERIES), largest));
      v128.store(x, from + key * QUERIES, e);
      sum = f32x4.add(sum, e);
    }
    const inverse = f32x4.div(f32x4.splat(1), sum);
    for (let key: i32 = 0; key < count; key++) {
      v128.store(x, from + key * QUERIES, f32x4.mul(v128.load(x, from + key * QUERIES), inverse));
    }
  }
}

/** out[r] = sum over keys 0..count-1 of factors[key][r] * b[key], for eight rows, of which `rows` are stored. */
export function combine(
  factors: Buffer<f32>,
  start: i32,
  b: Buffer<f32>,
  bt: i32,
  bStride: i32,
  count: i32,
  out: Buffer<f32>,
  to: i32,
  outStride: i32,
  rows: i32,
  dim: i32,
): void {
  const zero = f32x4.splat(0);
  const whole = dim & -8;
  for (let row: i32 = 0; row < rows; row += 4) {
    for (let i: i32 = 0; i < whole; i += 8) {
      const acc = registers(8, zero);
      let from = bt + i;
      let factor = start + row;
      for (let key: i32 = 0; key < count; key++) {
        const low = v128.load(b, from);
        const high = v128.load(b, from + 4);
        for (const r of unroll(4)) {
          const x = v128.load32Splat(factors, factor + r);
          acc[2 * r] = f32x4.add(acc[2 * r]!, f32x4.mul(x, low));
          acc[2 * r + 1] = f32x4.add(acc[2 * r + 1]!, f32x4.mul(x, high));
        }
        from += bStride;
        factor += QUERIES;
      }
      for (const r of unroll(4)) {
        if (row + r < rows) {
          v128.store(out, to + (row + r) * outStride + i, acc[2 * r]!);
          v128.store(out, to + (row + r) * outStride + i + 4, acc[2 * r + 1]!);
        }
      }
    }
  }
  for (let i = whole; i < dim; i++) {
    for (let r: i32 = 0; r < rows; r++) {
      let sum: f32 = 0;
      for (let key: i32 = 0; key < count; key++) {
        sum += factors[start + key * QUERIES + r]! * b[bt + key * bStride + i]!;
      }
      out[to + r * outStride + i] = sum;
    }
  }
}
