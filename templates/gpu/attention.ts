import {
  type Buffer,
  type f32,
  type i32,
  localId,
  math,
  registers,
  type Static,
  select,
  shared,
  unroll,
  workgroupBarrier,
  workgroupId,
  workgroupIdY,
  workgroupUniformLoad,
} from "bitloom/kernel";
import { type KeyOptions, visibleKeys } from "./cached-keys.ts";
import { floatTile } from "./float-tile.ts";
import { exp } from "./math.ts";
import { LOWEST } from "./softmax.ts";
import { type TileOptions, tileHeight, tileWidth } from "./tile.ts";

/** What a specialization of {@link attention} fixes; a tile is queries times keys. */
export interface AttentionOptions extends TileOptions, KeyOptions {
  /** Elements of a head. */
  dim: number;
}

/**
 * Causal attention with grouped queries; kv head h serves q heads h*g..h*g+g-1, softmax in f32.
 * Query t of batch b sees keys 0..t, or with a cache rows 0..positions[b]+t of slot slots[b].
 *
 * A workgroup takes a tile of queries that share keys and values: neighbouring t, all g heads of each. It goes over
 * the keys a tile at a time and keeps for each query the largest score, the sum of exponentials and the weighted sum
 * of values so far, rescaled when the largest grows.
 *
 * Grid: x = ceil(seq * g / tile height), y = batch * kvHeads.
 *
 * @param q f32[batch, seq, heads, dim] with qStride elements between (batch, seq) rows
 * @param keys f32[batch, seq, kvHeads, dim] or the cache; keyStride elements between consecutive rows
 * @param values likewise, with valueStride
 * @param slots i32[batch]; never read unless cached
 * @param positions i32[batch]; never read unless cached
 * @param out f32[batch, seq, heads, dim], contiguous
 * @param capacity rows of one cache slot; without a cache, seq
 * @param scale factor of the scores, usually 1/sqrt(dim)
 */
export function attention(
  options: Static<AttentionOptions>,
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  capacity: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  scale: f32,
): void {
  const { dim, workgroupSize } = options;
  const queries = tileHeight(options);
  const tileKeys = tileWidth(options);
  const scorePitch = tileKeys + 1;
  const scores = shared<f32>(queries * scorePitch);
  const largest = shared<f32>(queries);
  const sums = shared<f32>(queries);
  /** What the weighted sums so far are to be multiplied by. */
  const factors = shared<f32>(queries);

  const local = localId();
  const together = heads / kvHeads;
  const batch = workgroupIdY() / kvHeads;
  const kvHead = workgroupIdY() % kvHeads;
  const base = options.cached ? slots[batch]! * capacity : batch * seq;
  const firstQuery = workgroupId() * queries;
  const allQueries = seq * together;
  // Queries past the last repeat it; their results are dropped.
  const timeOf = (query: i32): i32 => {
    const at = firstQuery + query;
    return select(at < allQueries, at, allQueries - 1) / together;
  };
  const headOf = (query: i32): i32 => kvHead * together + ((firstQuery + query) % together);
  let length: i32 = timeOf(queries - 1) + 1;
  if (options.cached) {
    // The flow of control depends on it, so it is one value for the workgroup.
    const common = shared<i32>(1);
    if (local === 0) common[0] = visibleKeys(options, positions, capacity, batch, timeOf(queries - 1));
    length = workgroupUniformLoad(common, 0);
  }

  const zero: f32 = 0;
  // Each invocation has the same few elements of every query's output.
  const owned = Math.ceil(dim / workgroupSize);
  const acc = registers(queries * owned, zero);
  for (let query = local; query < queries; query += workgroupSize) {
    largest[query] = LOWEST;
    sums[query] = 0;
  }

  for (let start: i32 = 0; start < length; start += tileKeys) {
    const count = select(length - start < tileKeys, length - start, tileKeys);
    floatTile(
      options,
      dim,
      (query: i32, i: i32): f32 => q[(batch * seq + timeOf(query)) * qStride + headOf(query) * dim + i]!,
      (key: i32, i: i32): f32 =>
        keys[(base + start + select(key < count, key, count - 1)) * keyStride + kvHead * dim + i]!,
      (score: f32, query: i32, key: i32) => {
        scores[query * scorePitch + key] = score * scale;
      },
    );
    workgroupBarrier();
    for (let query = local; query < queries; query += workgroupSize) {
      const visible = visibleKeys(options, positions, capacity, batch, timeOf(query)) - start;
      const from = query * scorePitch;
      const before = largest[query]!;
      let now = before;
      for (let key: i32 = 0; key < count; key++) {
        if (key < visible) now = math.max(now, scores[from + key]!);
      }
      const factor = exp(before - now);
      let sum = sums[query]! * factor;
      for (let key: i32 = 0; key < count; key++) {
        let weight: f32 = 0;
        if (key < visible) weight = exp(scores[from + key]! - now);
        scores[from + key] = weight;
        sum += weight;
      }
      largest[query] = now;
      sums[query] = sum;
      factors[query] = factor;
    }
    workgroupBarrier();
    for (const r of unroll(queries)) {
      for (const u of unroll(owned)) acc[r * owned + u] = acc[r * owned + u]! * factors[r]!;
    }
    for (let key: i32 = 0; key < count; key++) {
      const from = (base + start + key) * valueStride + kvHead * dim;
      for (const u of unroll(owned)) {
        const i = local + u * workgroupSize;
        const value = values[from + select(i < dim, i, dim - 1)]!;
        for (const r of unroll(queries)) {
          acc[r * owned + u] = acc[r * owned + u]! + scores[r * scorePitch + key]! * value;
        }
      }
    }
  }

  for (const r of unroll(queries)) {
    if (firstQuery + r < allQueries) {
      const to = ((batch * seq + timeOf(r)) * heads + headOf(r)) * dim;
      for (const u of unroll(owned)) {
        const i = local + u * workgroupSize;
        if (i < dim) out[to + i] = acc[r * owned + u]! / sums[r]!;
      }
    }
  }
}
