import {
  type Buffer,
  type f32,
  f32x4,
  type i32,
  type Registers,
  registers,
  select,
  unroll,
  v128,
} from "bitloom/kernel";
import { sumF32x4 } from "./lanes.ts";
import { exponentials } from "./softmax.ts";

/** Keys whose values are read before the next ones: 64 rows of 128 f32 stay in a first-level cache. */
const KEY_BLOCK = 64;

/**
 * Causal attention over caches with grouped queries; kv head h serves q heads h*g..h*g+g-1, softmax in f32.
 * Query t of batch b sees rows 0..positions[b]+t of slot slots[b].
 * Heads that share keys and values are taken four or two at a time, so that these are read once.
 *
 * @param q f32[batch, seq, heads, dim] with qStride elements between (batch, seq) rows
 * @param keys f32[slots, capacity, kvHeads, dim] with keyStride elements between consecutive rows
 * @param values likewise, with valueStride
 * @param slots i32[batch]
 * @param positions i32[batch]
 * @param out f32[batch, seq, heads, dim], contiguous
 * @param scratch per thread: f32[4 * (capacity rounded up to a multiple of 4)]
 * @param capacity rows of one cache slot
 * @param scale factor of the scores, usually 1/sqrt(dim)
 * @param begin first item; an item is a (batch, seq, head), batch * seq * heads in all
 * @param end one past the last item
 */
export function cachedAttention(
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  scratch: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  capacity: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  scale: f32,
  begin: i32,
  end: i32,
): void {
  const shared = heads / kvHeads;
  const scoreStride = ((capacity + 3) >> 2) << 2;
  const zero = f32x4.splat(0);
  const whole = dim & -4;

  /** Scores of `count` heads from `head` on against all keys, to scratch[r * scoreStride + key]. */
  const score = (count: 1 | 2 | 4, query: i32, keyBase: i32, length: i32): void => {
    const step = count === 4 ? 2 : 4;
    for (let key: i32 = 0; key < length; key += step) {
      // Keys past the last repeat it, and its score is stored again.
      const at = registers(step, key);
      for (const u of unroll(step)) at[u] = select(key + u < length, key + u, length - 1);
      const acc = registers(count * step, zero);
      const from = registers(step, key);
      for (const u of unroll(step)) from[u] = keyBase + at[u]! * keyStride;
      for (let i: i32 = 0; i < whole; i += 4) {
        const k = registers(step, zero);
        for (const u of unroll(step)) k[u] = v128.load(keys, from[u]! + i);
        for (const r of unroll(count)) {
          const x = v128.load(q, query + r * dim + i);
          for (const u of unroll(step)) {
            acc[r * step + u] = f32x4.add(acc[r * step + u]!, f32x4.mul(x, k[u]!));
          }
        }
      }
      for (let i = whole; i < dim; i++) {
        for (const r of unroll(count)) {
          const x = v128.load32Zero(q, query + r * dim + i);
          for (const u of unroll(step)) {
            const product = f32x4.mul(x, v128.load32Zero(keys, from[u]! + i));
            acc[r * step + u] = f32x4.add(acc[r * step + u]!, product);
          }
        }
      }
      for (const four of unroll((count * step) / 4)) {
        const sums = sumF32x4(acc[4 * four]!, acc[4 * four + 1]!, acc[4 * four + 2]!, acc[4 * four + 3]!);
        for (const lane of unroll(4)) {
          const r = Math.floor((4 * four + lane) / step);
          scratch[r * scoreStride + at[(4 * four + lane) % step]!] = f32x4.extractLane(sums, lane);
        }
      }
    }
  };

  /** Adds keys first..last-1 weighted to `vectors` times four elements from `i` on of each head's output. */
  const weigh = (
    count: 1 | 2 | 4,
    vectors: number,
    to: i32,
    valueBase: i32,
    i: i32,
    first: i32,
    last: i32,
    factors: Registers<f32>,
  ): void => {
    const acc = registers(count * vectors, zero);
    if (first > 0) {
      for (const r of unroll(count)) {
        for (const u of unroll(vectors)) acc[r * vectors + u] = v128.load(out, to + r * dim + i + 4 * u);
      }
    }
    let from = valueBase + first * valueStride + i;
    for (let key = first; key < last; key++) {
      const v = registers(vectors, zero);
      for (const u of unroll(vectors)) v[u] = v128.load(values, from + 4 * u);
      for (const r of unroll(count)) {
        const p = v128.load32Splat(scratch, r * scoreStride + key);
        for (const u of unroll(vectors)) {
          acc[r * vectors + u] = f32x4.add(acc[r * vectors + u]!, f32x4.mul(p, v[u]!));
        }
      }
      from += valueStride;
    }
    for (const r of unroll(count)) {
      for (const u of unroll(vectors)) {
        v128.store(out, to + r * dim + i + 4 * u, f32x4.mul(acc[r * vectors + u]!, f32x4.splat(factors[r]!)));
      }
    }
  };

  /** `count` heads from (row, head) on, all of one kv head. */
  const attend = (count: 1 | 2 | 4, row: i32, head: i32): void => {
    const batch = row / seq;
    const t = row % seq;
    const base = slots[batch]! * capacity;
    const seen = positions[batch]! + t + 1;
    const atLeastOne = select(seen < 1, 1, seen);
    const length = select(atLeastOne < capacity, atLeastOne, capacity);
    const kvHead = head / shared;
    const keyBase = base * keyStride + kvHead * dim;
    const valueBase = base * valueStride + kvHead * dim;
    const to = (row * heads + head) * dim;
    score(count, row * qStride + head * dim, keyBase, length);

    const one: f32 = 1;
    const inverse = registers(count, one);
    const factors = registers(count, one);
    for (const r of unroll(count)) inverse[r] = 1 / exponentials(scratch, r * scoreStride, length, scale);
    const wide = dim & -(32 / count);
    for (let first: i32 = 0; first < length; first += KEY_BLOCK) {
      let last = first + KEY_BLOCK;
      if (last >= length) {
        last = length;
        for (const r of unroll(count)) factors[r] = inverse[r]!;
      }
      for (let i: i32 = 0; i < wide; i += 32 / count) {
        weigh(count, 8 / count, to, valueBase, i, first, last, factors);
      }
      for (let i = wide; i < whole; i += 4) weigh(count, 1, to, valueBase, i, first, last, factors);
      for (let i = whole; i < dim; i++) {
        for (const r of unroll(count)) {
          let sum: f32 = 0;
          if (first > 0) sum = out[to + r * dim + i]!;
          for (let key = first; key < last; key++) {
            sum += scratch[r * scoreStride + key]! * values[valueBase + key * valueStride + i]!;
          }
          out[to + r * dim + i] = sum * factors[r]!;
        }
      }
    }
  };

  let item = begin;
  while (item < end) {
    const row = item / heads;
    const head = item % heads;
    const together = shared - (head % shared);
    const left = end - item;
    const available = select(together < left, together, left);
    if (available >= 4) {
      attend(4, row, head);
      item += 4;
    } else if (available >= 2) {
      attend(2, row, head);
      item += 2;
    } else {
      attend(1, row, head);
      item += 1;
    }
  }
}
