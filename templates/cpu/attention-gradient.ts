import { type Buffer, type f32, f32x4, type i32, registers, select, unroll, v128 } from "bitloom/kernel";
import { combine, dots, QUERIES, softmaxLanes, transposeRows } from "./query-block.ts";

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
 * @param scratch per thread: f32[16 * (dim + seq rounded up to a multiple of 4)]: q, g, p and ds of eight queries
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
  const gradients = QUERIES * dim;
  const weights = gradients + QUERIES * dim;
  const slopes = weights + QUERIES * length;
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
        transposeRows(q, query, qStride, queries, dim, scratch, 0);
        transposeRows(g, gradient, gStride, queries, dim, scratch, gradients);
        dots(scratch, 0, keys, keyBase, keyStride, seen, dim, scratch, weights);
        dots(scratch, gradients, values, valueBase, valueStride, seen, dim, scratch, slopes);
        softmaxLanes(scratch, weights, seen, first, scale);
        softmaxGradient(scratch, weights, slopes, seen, scale);
        accumulate(q, query, qStride, queries, scratch, slopes, dk, gradientBase, keyRow, seen, dim);
        accumulate(g, gradient, gStride, queries, scratch, weights, dv, gradientBase, keyRow, seen, dim);
        const to = ((row + first) * heads + head) * dim;
        combine(scratch, slopes, keys, keyBase, keyStride, seen, dq, to, heads * dim, queries, dim);
      }
    }
  }
}

/** Products dp to ds = scale * p * (dp - sum p * dp), for eight queries and keys 0..count-1. */
function softmaxGradient(x: Buffer<f32>, p: i32, ds: i32, count: i32, scale: f32): void {
  const stop = count * QUERIES;
  for (const half of unroll(2)) {
    // Relative to the dp of the largest weight, so that nothing cancels where one weight is almost 1.
    let largest = f32x4.splat(0);
    let reference = f32x4.splat(0);
    for (let i: i32 = 4 * half; i < stop; i += QUERIES) {
      const weight = v128.load(x, p + i);
      reference = v128.bitselect(v128.load(x, ds + i), reference, f32x4.gt(weight, largest));
      largest = f32x4.pmax(largest, weight);
    }
    let mean = f32x4.splat(0);
    for (let i: i32 = 4 * half; i < stop; i += QUERIES) {
      const relative = f32x4.sub(v128.load(x, ds + i), reference);
      v128.store(x, ds + i, relative);
      mean = f32x4.add(mean, f32x4.mul(v128.load(x, p + i), relative));
    }
    for (let i: i32 = 4 * half; i < stop; i += QUERIES) {
      const slope = f32x4.mul(v128.load(x, p + i), f32x4.sub(v128.load(x, ds + i), mean));
      v128.store(x, ds + i, f32x4.mul(slope, f32x4.splat(scale)));
    }
  }
}

/** out[key] += sum over `rows` rows r of factors[key][r] * a[r], for keys 0..count-1. */
function accumulate(
  a: Buffer<f32>,
  at: i32,
  aStride: i32,
  rows: i32,
  factors: Buffer<f32>,
  start: i32,
  out: Buffer<f32>,
  to: i32,
  outStride: i32,
  count: i32,
  dim: i32,
): void {
  const zero = f32x4.splat(0);
  const whole = dim & -8;
  for (let key: i32 = 0; key < count; key += 4) {
    for (let i: i32 = 0; i < whole; i += 8) {
      const acc = registers(8, zero);
      let from = at + i;
      let factor = start + key * QUERIES;
      for (let r: i32 = 0; r < rows; r++) {
        const low = v128.load(a, from);
        const high = v128.load(a, from + 4);
        for (const u of unroll(4)) {
          const x = v128.load32Splat(factors, factor + QUERIES * u);
          acc[2 * u] = f32x4.add(acc[2 * u]!, f32x4.mul(x, low));
          acc[2 * u + 1] = f32x4.add(acc[2 * u + 1]!, f32x4.mul(x, high));
        }
        from += aStride;
        factor++;
      }
      for (const u of unroll(4)) {
        if (key + u < count) {
          const place = to + (key + u) * outStride + i;
          v128.store(out, place, f32x4.add(v128.load(out, place), acc[2 * u]!));
          v128.store(out, place + 4, f32x4.add(v128.load(out, place + 4), acc[2 * u + 1]!));
        }
      }
    }
  }
  for (let i = whole; i < dim; i++) {
    for (let key: i32 = 0; key < count; key++) {
      let sum = out[to + key * outStride + i]!;
      for (let r: i32 = 0; r < rows; r++) {
        sum += factors[start + key * QUERIES + r]! * a[at + r * aStride + i]!;
      }
      out[to + key * outStride + i] = sum;
    }
  }
}
