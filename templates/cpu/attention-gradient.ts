import { type Buffer, type f32, f32x4, type i32, registers, select, unroll, v128 } from "bitloom/kernel";
import { sumF32x4 } from "./lanes.ts";
import { exponentials } from "./softmax.ts";

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
 * @param scratch per thread: f32[2 * (seq rounded up to a multiple of 4)]
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
  const whole = dim & -4;
  const second = ((seq + 3) >> 2) << 2;
  const keyRow = kvHeads * dim;

  for (let item = begin; item < end; item++) {
    const row = (item / kvHeads) * seq;
    const kvHead = item % kvHeads;
    const keyBase = row * keyStride + kvHead * dim;
    const valueBase = row * valueStride + kvHead * dim;
    const gradientBase = (row * kvHeads + kvHead) * dim;
    for (let t: i32 = 0; t < seq; t++) {
      const to = gradientBase + t * keyRow;
      for (let i: i32 = 0; i < dim; i++) {
        dk[to + i] = 0;
        dv[to + i] = 0;
      }
    }
    for (let t: i32 = 0; t < seq; t++) {
      const length = t + 1;
      for (let h: i32 = 0; h < shared; h++) {
        const head = kvHead * shared + h;
        const query = (row + t) * qStride + head * dim;
        const gradient = (row + t) * gStride + head * dim;
        const out = ((row + t) * heads + head) * dim;
        dots(q, query, keys, keyBase, keyStride, scratch, 0, length, dim);
        const inverse: f32 = 1 / exponentials(scratch, 0, length, scale);
        dots(g, gradient, values, valueBase, valueStride, scratch, second, length, dim);
        let mean: f32 = 0;
        for (let key: i32 = 0; key < length; key++) {
          const p = scratch[key]! * inverse;
          scratch[key] = p;
          mean += p * scratch[second + key]!;
        }
        for (let key: i32 = 0; key < length; key++) {
          scratch[second + key] = scale * (scratch[key]! * (scratch[second + key]! - mean));
        }
        for (let i: i32 = 0; i < whole; i += 4) {
          const x = v128.load(q, query + i);
          const gx = v128.load(g, gradient + i);
          let sum = f32x4.splat(0);
          let at = gradientBase + i;
          let from = keyBase + i;
          for (let key: i32 = 0; key < length; key++) {
            const p = v128.load32Splat(scratch, key);
            const ds = v128.load32Splat(scratch, second + key);
            sum = f32x4.add(sum, f32x4.mul(ds, v128.load(keys, from)));
            v128.store(dk, at, f32x4.add(v128.load(dk, at), f32x4.mul(ds, x)));
            v128.store(dv, at, f32x4.add(v128.load(dv, at), f32x4.mul(p, gx)));
            at += keyRow;
            from += keyStride;
          }
          v128.store(dq, out + i, sum);
        }
        for (let i = whole; i < dim; i++) {
          const x = q[query + i]!;
          const gx = g[gradient + i]!;
          let sum: f32 = 0;
          for (let key: i32 = 0; key < length; key++) {
            const at = gradientBase + key * keyRow + i;
            const ds = scratch[second + key]!;
            sum += ds * keys[keyBase + key * keyStride + i]!;
            dk[at] = dk[at]! + ds * x;
            dv[at] = dv[at]! + scratch[key]! * gx;
          }
          dq[out + i] = sum;
        }
      }
    }
  }
}

/** to[start + key] = a[at..at+dim-1] . b[bt + key * stride..], for keys 0..count-1, four at a time. */
function dots(
  a: Buffer<f32>,
  at: i32,
  b: Buffer<f32>,
  bt: i32,
  stride: i32,
  to: Buffer<f32>,
  start: i32,
  count: i32,
  dim: i32,
): void {
  const zero = f32x4.splat(0);
  const whole = dim & -4;
  for (let key: i32 = 0; key < count; key += 4) {
    const acc = registers(4, zero);
    const from = registers(4, key);
    // Keys past the last repeat it; scratch has room for their scores.
    for (const u of unroll(4)) from[u] = bt + select(key + u < count, key + u, count - 1) * stride;
    for (let i: i32 = 0; i < whole; i += 4) {
      const x = v128.load(a, at + i);
      for (const u of unroll(4)) acc[u] = f32x4.add(acc[u]!, f32x4.mul(x, v128.load(b, from[u]! + i)));
    }
    for (let i = whole; i < dim; i++) {
      const x = v128.load32Zero(a, at + i);
      for (const u of unroll(4)) {
        acc[u] = f32x4.add(acc[u]!, f32x4.mul(x, v128.load32Zero(b, from[u]! + i)));
      }
    }
    v128.store(to, start + key, sumF32x4(acc[0]!, acc[1]!, acc[2]!, acc[3]!));
  }
}
