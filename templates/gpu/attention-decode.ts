import {
  type Buffer,
  bits,
  component,
  type f32,
  type i32,
  localId,
  math,
  registers,
  type Shared,
  type Static,
  select,
  shared,
  subgroupShuffleXor,
  u32x4,
  unroll,
  workgroupBarrier,
  workgroupCount,
  workgroupId,
  workgroupIdY,
  workgroupUniformLoad,
} from "bitloom/kernel";
import { visibleKeys } from "./cached-keys.ts";
import { exp } from "./math.ts";
import { tableRow } from "./rotation.ts";
import { LOWEST } from "./softmax.ts";
import { type WorkgroupOptions, workgroupMax, workgroupSum } from "./workgroup.ts";

/** What a specialization of {@link attentionDecode} fixes. */
export interface AttentionDecodeOptions extends WorkgroupOptions {
  /** Elements of a head, a multiple of 4 and at most 4 * workgroupSize. */
  dim: number;
  /** q heads of a kv head. */
  together: number;
  /** Keys of a workgroup, a multiple of workgroupSize / 4. */
  keys: number;
  /**
   * Rotate q here, and rotate and write the new row of keys and write that of values to the cache: what rope and
   * cache-write would have done before. Otherwise the cache has them already.
   */
  fresh: boolean;
  /** The keys of a sequence are all of one workgroup (capacity <= keys): `out` is the result. */
  whole: boolean;
}

/** Invocations that share a key. A subgroup has at least four. */
const LANES = 4;

/**
 * Causal attention of one new query per sequence over a cache, with grouped queries and softmax in f32. Query of
 * batch b sees rows 0..positions[b] of slot slots[b].
 *
 * The keys of a sequence are split among workgroups, each of which reads its rows of keys and values once for all q
 * heads that share them. Without `whole`, what a workgroup has is combined by attention-combine.
 *
 * Grid: x = ceil(capacity / keys), y = batch * kvHeads.
 *
 * @param q f32[batch, heads, dim] with qStride elements between rows, from element qOffset on. With `fresh` the rows
 *   also have the new keys and values, [kvHeads, dim] each, from elements keyOffset and valueOffset on
 * @param cos f32[length, dim/2] with `fresh`; otherwise never read
 * @param sin likewise
 * @param keys f32[slots, capacity, kvHeads, dim] as words of four; written only with `fresh`
 * @param values likewise
 * @param slots i32[batch]
 * @param positions i32[batch]; a new row outside the capacity is dropped
 * @param out f32[batch, heads, dim] with `whole`; otherwise f32[batch, heads, x of the grid, dim + 2]: the sum of
 *   weighted values, the largest score and the sum of weights, left as it was where a sequence has no such keys
 * @param length rows of the tables
 * @param scale factor of the scores, usually 1/sqrt(dim)
 */
export function attentionDecode(
  options: Static<AttentionDecodeOptions>,
  q: Buffer<f32>,
  cos: Buffer<f32>,
  sin: Buffer<f32>,
  keys: Buffer<u32x4>,
  values: Buffer<u32x4>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  kvHeads: i32,
  capacity: i32,
  length: i32,
  qStride: i32,
  qOffset: i32,
  keyOffset: i32,
  valueOffset: i32,
  scale: f32,
): void {
  const { dim, together, workgroupSize } = options;
  const half = dim / 2;
  const quads = dim / 4;
  const queries = shared<u32x4>(together * quads);
  const newKey = shared<u32x4>(options.fresh ? quads : 1);
  const newValue = shared<u32x4>(options.fresh ? quads : 1);
  const scores = shared<f32>(together * options.keys);
  const exchange = shared<f32>(4 * workgroupSize);

  const local = localId();
  const batch = workgroupIdY() / kvHeads;
  const kvHead = workgroupIdY() % kvHeads;
  // The flow of control depends on these, so they are one value for the workgroup.
  const common = shared<i32>(3);
  if (local === 0) {
    common[0] = visibleKeys({ cached: true }, positions, capacity, batch, 0);
    common[1] = slots[batch]!;
    common[2] = positions[batch]!;
  }
  const visible = workgroupUniformLoad(common, 0);
  const slot = workgroupUniformLoad(common, 1);
  const start = workgroupId() * options.keys;
  if (start < visible) {
    const count = select(visible - start < options.keys, visible - start, options.keys);
    const rowWords = kvHeads * quads;
    const base = (slot * capacity + start) * rowWords + kvHead * quads;
    const zero: f32 = 0;

    // q, and the new key and value, to shared memory.
    const position = workgroupUniformLoad(common, 2);
    const rotated = (from: i32, i: i32): f32 => {
      if (!options.fresh) return q[from + i]!;
      const pair = select(i < half, i, i - half);
      const angle = tableRow(position, length, half) + pair;
      const c = cos[angle]!;
      const s = sin[angle]!;
      const low = q[from + pair]!;
      const high = q[from + pair + half]!;
      return select(i < half, low * c - high * s, high * c + low * s);
    };
    const fourOf = (value: (i: i32) => f32, quad: i32): u32x4 =>
      u32x4(
        bits.f32ToU32(value(4 * quad)),
        bits.f32ToU32(value(4 * quad + 1)),
        bits.f32ToU32(value(4 * quad + 2)),
        bits.f32ToU32(value(4 * quad + 3)),
      );
    const row = batch * qStride;
    for (let i = local; i < together * quads; i += workgroupSize) {
      const from = row + qOffset + (kvHead * together + i / quads) * dim;
      queries[i] = fourOf((e: i32) => rotated(from, e), i % quads);
    }
    if (options.fresh) {
      const mine = position - start;
      if (mine >= 0 && mine < options.keys && position < capacity) {
        for (let i = local; i < quads; i += workgroupSize) {
          const key = fourOf((e: i32) => rotated(row + keyOffset + kvHead * dim, e), i);
          const value = fourOf((e: i32) => q[row + valueOffset + kvHead * dim + e]!, i);
          newKey[i] = key;
          newValue[i] = value;
          keys[base + mine * rowWords + i] = key;
          values[base + mine * rowWords + i] = value;
        }
      }
    }
    workgroupBarrier();

    /** Word `quad` of a row of the cache; the new row is in shared memory. */
    const rowWord = (cache: Buffer<u32x4>, fresh: Shared<u32x4>, key: i32, quad: i32): u32x4 => {
      if (!options.fresh) return cache[base + key * rowWords + quad]!;
      let word = fresh[quad]!;
      if (start + key !== position) word = cache[base + key * rowWords + quad]!;
      return word;
    };

    // Scores: four invocations a key.
    const lane = local % LANES;
    const perPass = workgroupSize / LANES;
    for (let first: i32 = 0; first < options.keys; first += perPass) {
      const key = first + local / LANES;
      const valid = select(key < count, key, count - 1);
      const dots = registers(together, zero);
      for (let quad = lane; quad < quads; quad += LANES) {
        const k = rowWord(keys, newKey, valid, quad);
        for (const h of unroll(together)) {
          const x = queries[h * quads + quad]!;
          for (const c of unroll(4)) {
            dots[h] = dots[h]! + bits.u32ToF32(component(x, c)) * bits.u32ToF32(component(k, c));
          }
        }
      }
      for (const h of unroll(together)) {
        let dot = dots[h]!;
        if (options.subgroups) {
          dot += subgroupShuffleXor(dot, 1);
          dot += subgroupShuffleXor(dot, 2);
        } else {
          exchange[local] = dot;
          workgroupBarrier();
          const from = local - lane;
          dot = exchange[from]! + exchange[from + 1]! + (exchange[from + 2]! + exchange[from + 3]!);
          workgroupBarrier();
        }
        if (lane === 0) scores[h * options.keys + key] = select(key < count, dot * scale, LOWEST);
      }
    }
    workgroupBarrier();

    // Weights.
    const largest = registers(together, zero);
    const sums = registers(together, zero);
    for (const h of unroll(together)) {
      let most: f32 = LOWEST;
      for (let key = local; key < count; key += workgroupSize)
        most = math.max(most, scores[h * options.keys + key]!);
      const lowest: f32 = LOWEST;
      largest[h] = workgroupMax(options, exchange, lowest, most);
      let sum: f32 = 0;
      for (let key = local; key < count; key += workgroupSize) {
        const weight = exp(scores[h * options.keys + key]! - largest[h]!);
        scores[h * options.keys + key] = weight;
        sum += weight;
      }
      sums[h] = workgroupSum(options, exchange, zero, sum);
    }

    // Weighted sums of values: an invocation has four elements, and every so many keys.
    const parts = Math.floor(workgroupSize / quads);
    const part = local / quads;
    const acc = registers(4 * together, zero);
    if (part < parts) {
      for (let key = part; key < count; key += parts) {
        const v = rowWord(values, newValue, key, local % quads);
        for (const h of unroll(together)) {
          const weight = scores[h * options.keys + key]!;
          for (const c of unroll(4)) {
            acc[4 * h + c] = acc[4 * h + c]! + weight * bits.u32ToF32(component(v, c));
          }
        }
      }
    }
    for (const h of unroll(together)) {
      for (const c of unroll(4)) exchange[4 * local + c] = acc[4 * h + c]!;
      workgroupBarrier();
      const head = (batch * kvHeads + kvHead) * together + h;
      for (let i = local; i < dim; i += workgroupSize) {
        let sum: f32 = 0;
        for (const p of unroll(parts)) sum += exchange[p * dim + i]!;
        if (options.whole) out[head * dim + i] = sum / sums[h]!;
        else out[(head * workgroupCount() + workgroupId()) * (dim + 2) + i] = sum;
      }
      if (!options.whole && local === 0) {
        const end = (head * workgroupCount() + workgroupId()) * (dim + 2) + dim;
        out[end] = largest[h]!;
        out[end + 1] = sums[h]!;
      }
      workgroupBarrier();
    }
  }
}
