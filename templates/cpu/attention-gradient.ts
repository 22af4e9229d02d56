import { type Buffer, type f32, f32x4, type i32, registers, select, unroll, v128 } from "bitloom/kernel";
import { sumF32x4 } from "./lanes.ts";
import { exponentials } from "./softmax.ts";

/** Queries that go over the keys together. */
const QUERIES = 4;

/**
 * Gradients of causal attention without a cache, from scores computed anew: for each query, with p its weights,
 * dp = g . v and ds = scale * p * (dp - sum p * dp), dq = sum ds * k; and over the queries that see a key,
 * dk = sum ds * q and dv = sum p * g. A thread has all queries of a key head, so that nothing is added by two.
 *
 * @param q f32[batch, seq, heads, dim] with qStride elements between (batch, seq) rows
 * @param keys f32[batch, seq, kvHeads, dim] with keyStride elements between (batch, seq) rows
 * @param values likewise, with valueStride
 * @param g f32[batch, seq, heads, dim] with gStride elements between (batch, seq) rows
 * @param dq f32[batch, seq, heads, dim], contiguous
 * @param dk f32[batch, seq, kvHeads, dim], contiguous
 * @param dv f32[batch, seq, kvHeads, dim], contiguous
 * @param scratch per thread: f32[8 * (seq rounded up to a multiple of 4)], p of four queries and ds of four
 * @param begin first item; an item is a (batch, kvHead), batch * kvHeads in all
 * @param end one past the last item
 */
export function attentionGradient(
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  g: Buffer<f32>,
  dq: Buffer<f32>,
  dk: Buffer<f32>,
  dv: Buffer<f32>,
  scratch: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
  begin: i32,
  end: i32,
): void {
  const shared = heads / kvHeads;
  const length = ((seq + 3) >> 2) << 2;
  const slopes = QUERIES * length;
  const keyRow = kvHeads * dim;

  for (let item = begin; item < end; item++) {
    const row = (item / kvHeads) * seq;
    const kvHead = item % kvHeads;
    const keyBase = row * keyStride + kvHead * dim;
    const valueBase = row * valueStride + kvHead * dim;
    const gradientBase = (row * kvHeads + kvHead) * dim;
    for (let t: i32 = 0; t < seq; t++) {
      for (let i: i32 = 0; i < dim; i++) {
        dk[gradientBase + t * keyRow + i] = 0;
        dv[gradientBase + t * keyRow + i] = 0;
      }
    }
    for (let first: i32 = 0; first < seq; first += QUERIES) {
      const queries = select(first + QUERIES <= seq, QUERIES, seq - first);
      const seen = first + queries;
      for (let h: i32 = 0; h < shared; h++) {
        const head = kvHead * shared + h;
        const query = (row + first) * qStride + head * dim;
        const gradient = (row + first) * gStride + head * dim;
        dots(q, query, qStride, queries, keys, keyBase, keyStride, seen, dim, scratch, 0, length);
        dots(
          g,
          gradient,
          gStride,
          queries,
          values,
          valueBase,
          valueStride,
          seen,
          dim,
          scratch,
          slopes,
          length,
        );
        for (let r: i32 = 0; r < QUERIES; r++) {
          weigh(scratch, r * length, slopes + r * length, select(r < queries, first + r + 1, 0), seen, scale);
        }
        accumulate(q, query, qStride, queries, scratch, slopes, length, dk, gradientBase, keyRow, seen, dim);
        accumulate(g, gradient, gStride, queries, scratch, 0, length, dv, gradientBase, keyRow, seen, dim);
        const to = ((row + first) * heads + head) * dim;
        combine(scratch, slopes, length, keys, keyBase, keyStride, seen, dq, to, heads * dim, queries, dim);
      }
    }
  }
}

/** Scores of a query to weights p, and products dp to ds; both are 0 for keys from `count` on, which it does not see. */
function weigh(scratch: Buffer<f32>, p: i32, ds: i32, count: i32, seen: i32, scale: f32): void {
  if (count > 0) {
    const inverse: f32 = 1 / exponentials(scratch, p, count, scale);
    let largest: f32 = 0;
    let reference: f32 = 0;
    for (let key: i32 = 0; key < count; key++) {
      const weight = scratch[p + key]! * inverse;
      scratch[p + key] = weight;
      if (weight > largest) {
        largest = weight;
        reference = scratch[ds + key]!;
      }
    }
    // Relative to the dp of the largest weight, so that nothing cancels where one weight is almost 1.
    let mean: f32 = 0;
    for (let key: i32 = 0; key < count; key++) {
      const relative = scratch[ds + key]! - reference;
      scratch[ds + key] = relative;
      mean += scratch[p + key]! * relative;
    }
    for (let key: i32 = 0; key < count; key++) {
      scratch[ds + key] = scale * (scratch[p + key]! * (scratch[ds + key]! - mean));
    }
  }
  for (let key = count; key < seen; key++) {
    scratch[p + key] = 0;
    scratch[ds + key] = 0;
  }
}

/** to[start + r * toStride + key] = a[r] . b[key] for four rows, of which `rows` exist, and keys 0..count-1. */
function dots(
  a: Buffer<f32>,
  at: i32,
  aStride: i32,
  rows: i32,
  b: Buffer<f32>,
  bt: i32,
  bStride: i32,
  count: i32,
  dim: i32,
  to: Buffer<f32>,
  start: i32,
  toStride: i32,
): void {
  const zero = f32x4.splat(0);
  const whole = dim & -4;
  const from = registers(4, at);
  for (const r of unroll(4)) from[r] = at + select(r < rows, r, 0) * aStride;
  for (let key: i32 = 0; key < count; key += 2) {
    // A key past the last repeats it, and its product is stored again.
    const next = select(key + 1 < count, key + 1, key);
    const b0 = bt + key * bStride;
    const b1 = bt + next * bStride;
    const acc = registers(8, zero);
    for (let i: i32 = 0; i < whole; i += 4) {
      const x = v128.load(b, b0 + i);
      const y = v128.load(b, b1 + i);
      for (const r of unroll(4)) {
        const lanes = v128.load(a, from[r]! + i);
        acc[r] = f32x4.add(acc[r]!, f32x4.mul(lanes, x));
        acc[4 + r] = f32x4.add(acc[4 + r]!, f32x4.mul(lanes, y));
      }
    }
    for (let i = whole; i < dim; i++) {
      const x = v128.load32Zero(b, b0 + i);
      const y = v128.load32Zero(b, b1 + i);
      for (const r of unroll(4)) {
        const lanes = v128.load32Zero(a, from[r]! + i);
        acc[r] = f32x4.add(acc[r]!, f32x4.mul(lanes, x));
        acc[4 + r] = f32x4.add(acc[4 + r]!, f32x4.mul(lanes, y));
      }
    }
    const first = sumF32x4(acc[0]!, acc[1]!, acc[2]!, acc[3]!);
    const second = sumF32x4(acc[4]!, acc[5]!, acc[6]!, acc[7]!);
    for (const r of unroll(4)) {
      to[start + r * toStride + key] = f32x4.extractLane(first, r);
      to[start + r * toStride + next] = f32x4.extractLane(second, r);
    }
  }
}

/** out[key] += sum over four rows r of factors[r, key] * a[r], for keys 0..count-1. Rows that do not exist have factors 0. */
function accumulate(
  a: Buffer<f32>,
  at: i32,
  aStride: i32,
  rows: i32,
  factors: Buffer<f32>,
  start: i32,
  factorStride: i32,
  out: Buffer<f32>,
  to: i32,
  outStride: i32,
  count: i32,
  dim: i32,
): void {
  const zero = f32x4.splat(0);
  const from = registers(4, at);
  for (const r of unroll(4)) from[r] = at + select(r < rows, r, 0) * aStride;
  const pairs = dim & -8;
  for (let i: i32 = 0; i < pairs; i += 8) {
    const low = registers(4, zero);
    const high = registers(4, zero);
    for (const r of unroll(4)) {
      low[r] = v128.load(a, from[r]! + i);
      high[r] = v128.load(a, from[r]! + i + 4);
    }
    let place = to + i;
    for (let key: i32 = 0; key < count; key++) {
      let x = v128.load(out, place);
      let y = v128.load(out, place + 4);
      for (const r of unroll(4)) {
        const factor = v128.load32Splat(factors, start + r * factorStride + key);
        x = f32x4.add(x, f32x4.mul(factor, low[r]!));
        y = f32x4.add(y, f32x4.mul(factor, high[r]!));
      }
      v128.store(out, place, x);
      v128.store(out, place + 4, y);
      place += outStride;
    }
  }
  for (let i = pairs; i < dim; i++) {
    for (let key: i32 = 0; key < count; key++) {
      let sum = out[to + key * outStride + i]!;
      for (const r of unroll(4)) sum += factors[start + r * factorStride + key]! * a[from[r]! + i]!;
      out[to + key * outStride + i] = sum;
    }
  }
}

/** out[r] = sum over keys 0..count-1 of factors[r, key] * b[key], for four rows, of which `rows` are stored. */
function combine(
  factors: Buffer<f32>,
  start: i32,
  factorStride: i32,
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
  const pairs = dim & -8;
  for (let i: i32 = 0; i < pairs; i += 8) {
    const low = registers(4, zero);
    const high = registers(4, zero);
    let from = bt + i;
    for (let key: i32 = 0; key < count; key++) {
      const x = v128.load(b, from);
      const y = v128.load(b, from + 4);
      for (const r of unroll(4)) {
        const factor = v128.load32Splat(factors, start + r * factorStride + key);
        low[r] = f32x4.add(low[r]!, f32x4.mul(factor, x));
        high[r] = f32x4.add(high[r]!, f32x4.mul(factor, y));
      }
      from += bStride;
    }
    for (const r of unroll(4)) {
      if (r < rows) {
        v128.store(out, to + r * outStride + i, low[r]!);
        v128.store(out, to + r * outStride + i + 4, high[r]!);
      }
    }
  }
  for (let i = pairs; i < dim; i++) {
    for (let r: i32 = 0; r < rows; r++) {
      let sum: f32 = 0;
      for (let key: i32 = 0; key < count; key++) {
        sum += factors[start + r * factorStride + key]! * b[bt + key * bStride + i]!;
      }
      out[to + r * outStride + i] = sum;
    }
  }
}
