import {
  type Buffer,
  bits,
  type f32,
  type i32,
  localId,
  registers,
  type Shared,
  type Static,
  select,
  shared,
  u32x4,
  unroll,
  workgroupBarrier,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import { floatTile } from "./float-tile.ts";
import { exp } from "./math.ts";
import { LOWEST } from "./softmax.ts";
import { type TileOptions, tileHeight, tileWidth } from "./tile.ts";

/**
 * Gradients of causal attention without a cache, in three kernels that compute the scores anew. With p the weights of a
 * query, dp = g . v and ds = scale * p * (dp - sum p * dp): dq = sum ds * k, and over the queries that see a key,
 * dk = sum ds * q and dv = sum p * g.
 *
 * A workgroup's y is one of batch * kvHeads; its tiles are queries (t, head), neighbouring t with all heads that share
 * keys, times keys. Operands are f32[batch, seq, heads, dim], or kvHeads, with a stride between (batch, seq) rows;
 * results are contiguous. Each element of a result is one workgroup's, so that nothing is added by two.
 */
export interface AttentionGradientOptions extends TileOptions {
  /** Elements of each result that an invocation has: ceil(dim / workgroupSize). */
  owned: number;
}

/** Where the queries and keys of this workgroup's batch and kv head are; what is past the last repeats it. */
interface Heads {
  /** How many queries there are. */
  queries: i32;
  /** Query heads that share keys. */
  together: i32;
  /** The offset of a query in an array with `stride` elements between rows and `width` between heads. */
  ofQuery: (query: i32, stride: i32, width: i32) => i32;
  /** Likewise of a key. */
  ofKey: (key: i32, stride: i32, width: i32) => i32;
}

function openHeads(seq: i32, heads: i32, kvHeads: i32): Heads {
  const together = heads / kvHeads;
  const queries = seq * together;
  const batch = workgroupIdY() / kvHeads;
  const kvHead = workgroupIdY() - batch * kvHeads;
  return {
    queries,
    together,
    ofQuery: (query: i32, stride: i32, width: i32): i32 => {
      const known = select(query < queries, query, queries - 1);
      const t = known / together;
      return (batch * seq + t) * stride + (kvHead * together + known - t * together) * width;
    },
    ofKey: (key: i32, stride: i32, width: i32): i32 =>
      (batch * seq + select(key < seq, key, seq - 1)) * stride + kvHead * width,
  };
}

/** Computes something of each pair of a tile of queries and keys. */
type OfPairs = (firstQuery: i32, firstKey: i32) => void;

/** Elements of shared memory between the queries of a tile. */
function pairPitch(options: Static<AttentionGradientOptions>): number {
  return tileWidth(options) + 1;
}

/** Leaves the scaled score and dp of each pair for all invocations. */
function openProducts(
  options: Static<AttentionGradientOptions>,
  at: Static<Heads>,
  scores: Shared<f32>,
  slopes: Shared<f32>,
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  g: Buffer<f32>,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
): OfPairs {
  const pitch = pairPitch(options);
  return (firstQuery: i32, firstKey: i32) => {
    floatTile(
      options,
      dim,
      (query: i32, i: i32): f32 => q[at.ofQuery(firstQuery + query, qStride, dim) + i]!,
      (key: i32, i: i32): f32 => keys[at.ofKey(firstKey + key, keyStride, dim) + i]!,
      (score: f32, query: i32, key: i32) => {
        scores[query * pitch + key] = score * scale;
      },
    );
    floatTile(
      options,
      dim,
      (query: i32, i: i32): f32 => g[at.ofQuery(firstQuery + query, gStride, dim) + i]!,
      (key: i32, i: i32): f32 => values[at.ofKey(firstKey + key, valueStride, dim) + i]!,
      (dp: f32, query: i32, key: i32) => {
        slopes[query * pitch + key] = dp;
      },
    );
    workgroupBarrier();
  };
}

/** Turns scores into p and dp into ds, by the queries' statistics; both are 0 where a query does not see a key. */
function openWeights(
  options: Static<AttentionGradientOptions>,
  at: Static<Heads>,
  products: OfPairs,
  scores: Shared<f32>,
  slopes: Shared<f32>,
  statistics: Buffer<u32x4>,
  heads: i32,
  scale: f32,
): OfPairs {
  const tileKeys = tileWidth(options);
  return (firstQuery: i32, firstKey: i32) => {
    products(firstQuery, firstKey);
    for (let pair = localId(); pair < tileHeight(options) * tileKeys; pair += options.workgroupSize) {
      const query = firstQuery + pair / tileKeys;
      const key = firstKey + (pair % tileKeys);
      const place = (pair / tileKeys) * pairPitch(options) + (pair % tileKeys);
      const known = statistics[at.ofQuery(query, heads, 1)]!;
      const p = exp(scores[place]! - bits.u32ToF32(known.x)) * bits.u32ToF32(known.y);
      const ds = scale * (p * (slopes[place]! - bits.u32ToF32(known.z) - bits.u32ToF32(known.w)));
      const seen = query < at.queries && key <= query / at.together;
      scores[place] = select(seen, p, 0);
      slopes[place] = select(seen, ds, 0);
    }
    workgroupBarrier();
  };
}

/**
 * What the other two kernels need of each query: its largest score; 1 / the sum of exponentials; dp of the key with the
 * largest score, which others are taken relative to, so that nothing cancels where one weight is almost 1; and the mean
 * of these by the weights.
 *
 * Grid: x = ceil(seq * heads / kvHeads / tile height), y = batch * kvHeads.
 *
 * @param statistics f32[batch, seq, heads, 4]
 */
export function attentionStatistics(
  options: Static<AttentionGradientOptions>,
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  g: Buffer<f32>,
  statistics: Buffer<u32x4>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
): void {
  const queries = tileHeight(options);
  const tileKeys = tileWidth(options);
  const pitch = pairPitch(options);
  const scores = shared<f32>(queries * pitch);
  const slopes = shared<f32>(queries * pitch);
  const largest = shared<f32>(queries);
  const sums = shared<f32>(queries);
  const references = shared<f32>(queries);
  const relative = shared<f32>(queries);
  const at = openHeads(seq, heads, kvHeads);
  const products = openProducts(
    options,
    at,
    scores,
    slopes,
    q,
    keys,
    values,
    g,
    dim,
    qStride,
    keyStride,
    valueStride,
    gStride,
    scale,
  );
  const firstQuery = workgroupId() * queries;
  const keysSeen = (query: i32): i32 => {
    const known = select(firstQuery + query < at.queries, firstQuery + query, at.queries - 1);
    return known / at.together + 1;
  };
  for (let query = localId(); query < queries; query += options.workgroupSize) {
    largest[query] = LOWEST;
    sums[query] = 0;
    references[query] = 0;
    relative[query] = 0;
  }
  const length = keysSeen(queries - 1);
  for (let start: i32 = 0; start < length; start += tileKeys) {
    products(firstQuery, start);
    for (let query = localId(); query < queries; query += options.workgroupSize) {
      const from = query * pitch;
      const left = keysSeen(query) - start;
      const count = select(left < tileKeys, left, tileKeys);
      const before = largest[query]!;
      const referenceBefore = references[query]!;
      let now = before;
      let reference = referenceBefore;
      for (let key: i32 = 0; key < count; key++) {
        if (scores[from + key]! > now) {
          now = scores[from + key]!;
          reference = slopes[from + key]!;
        }
      }
      const factor = exp(before - now);
      let sum = sums[query]! * factor;
      let weighted = relative[query]! * factor + sum * (referenceBefore - reference);
      for (let key: i32 = 0; key < count; key++) {
        const weight = exp(scores[from + key]! - now);
        sum += weight;
        weighted += weight * (slopes[from + key]! - reference);
      }
      largest[query] = now;
      sums[query] = sum;
      references[query] = reference;
      relative[query] = weighted;
    }
  }
  for (let query = localId(); query < queries; query += options.workgroupSize) {
    if (firstQuery + query < at.queries) {
      const inverse: f32 = 1 / sums[query]!;
      statistics[at.ofQuery(firstQuery + query, heads, 1)] = u32x4(
        bits.f32ToU32(largest[query]!),
        bits.f32ToU32(inverse),
        bits.f32ToU32(references[query]!),
        bits.f32ToU32(relative[query]! * inverse),
      );
    }
  }
}

/**
 * dq = sum ds * k.
 *
 * Grid: x = ceil(seq * heads / kvHeads / tile height), y = batch * kvHeads.
 *
 * @param statistics f32[batch, seq, heads, 4] of {@link attentionStatistics}
 * @param dq f32[batch, seq, heads, dim]
 */
export function attentionQueryGradient(
  options: Static<AttentionGradientOptions>,
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  g: Buffer<f32>,
  statistics: Buffer<u32x4>,
  dq: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
): void {
  const { owned, workgroupSize } = options;
  const queries = tileHeight(options);
  const tileKeys = tileWidth(options);
  const pitch = pairPitch(options);
  const scores = shared<f32>(queries * pitch);
  const slopes = shared<f32>(queries * pitch);
  const at = openHeads(seq, heads, kvHeads);
  const products = openProducts(
    options,
    at,
    scores,
    slopes,
    q,
    keys,
    values,
    g,
    dim,
    qStride,
    keyStride,
    valueStride,
    gStride,
    scale,
  );
  const weights = openWeights(options, at, products, scores, slopes, statistics, heads, scale);
  const firstQuery = workgroupId() * queries;
  const past = select(firstQuery + queries < at.queries, firstQuery + queries, at.queries);
  const length = (past - 1) / at.together + 1;
  const zero: f32 = 0;
  const acc = registers(queries * owned, zero);
  for (let start: i32 = 0; start < length; start += tileKeys) {
    weights(firstQuery, start);
    const count = select(length - start < tileKeys, length - start, tileKeys);
    for (let key: i32 = 0; key < count; key++) {
      const from = at.ofKey(start + key, keyStride, dim);
      for (const u of unroll(owned)) {
        const i = localId() + u * workgroupSize;
        const value = keys[from + select(i < dim, i, dim - 1)]!;
        for (const r of unroll(queries)) {
          acc[r * owned + u] = acc[r * owned + u]! + slopes[r * pitch + key]! * value;
        }
      }
    }
  }
  for (const r of unroll(queries)) {
    if (firstQuery + r < at.queries) {
      const to = at.ofQuery(firstQuery + r, heads * dim, dim);
      for (const u of unroll(owned)) {
        const i = localId() + u * workgroupSize;
        if (i < dim) dq[to + i] = acc[r * owned + u]!;
      }
    }
  }
}

/**
 * dk = sum ds * q and dv = sum p * g over the queries that see a key.
 *
 * Grid: x = ceil(seq / tile width), y = batch * kvHeads.
 *
 * @param statistics f32[batch, seq, heads, 4] of {@link attentionStatistics}
 * @param dk f32[batch, seq, kvHeads, dim]
 * @param dv f32[batch, seq, kvHeads, dim]
 */
export function attentionKeyGradient(
  options: Static<AttentionGradientOptions>,
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  g: Buffer<f32>,
  statistics: Buffer<u32x4>,
  dk: Buffer<f32>,
  dv: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  gStride: i32,
  scale: f32,
): void {
  const { owned, workgroupSize } = options;
  const queries = tileHeight(options);
  const tileKeys = tileWidth(options);
  const pitch = pairPitch(options);
  const scores = shared<f32>(queries * pitch);
  const slopes = shared<f32>(queries * pitch);
  const at = openHeads(seq, heads, kvHeads);
  const products = openProducts(
    options,
    at,
    scores,
    slopes,
    q,
    keys,
    values,
    g,
    dim,
    qStride,
    keyStride,
    valueStride,
    gStride,
    scale,
  );
  const weights = openWeights(options, at, products, scores, slopes, statistics, heads, scale);
  const firstKey = workgroupId() * tileKeys;
  const zero: f32 = 0;
  const keySums = registers(tileKeys * owned, zero);
  const valueSums = registers(tileKeys * owned, zero);
  for (let start = firstKey * at.together; start < at.queries; start += queries) {
    weights(start, firstKey);
    const count = select(at.queries - start < queries, at.queries - start, queries);
    for (let query: i32 = 0; query < count; query++) {
      const fromQuery = at.ofQuery(start + query, qStride, dim);
      const fromGradient = at.ofQuery(start + query, gStride, dim);
      for (const u of unroll(owned)) {
        const i = localId() + u * workgroupSize;
        const value = q[fromQuery + select(i < dim, i, dim - 1)]!;
        const gradient = g[fromGradient + select(i < dim, i, dim - 1)]!;
        for (const c of unroll(tileKeys)) {
          keySums[c * owned + u] = keySums[c * owned + u]! + slopes[query * pitch + c]! * value;
          valueSums[c * owned + u] = valueSums[c * owned + u]! + scores[query * pitch + c]! * gradient;
        }
      }
    }
  }
  for (const c of unroll(tileKeys)) {
    if (firstKey + c < seq) {
      const to = at.ofKey(firstKey + c, kvHeads * dim, dim);
      for (const u of unroll(owned)) {
        const i = localId() + u * workgroupSize;
        if (i < dim) {
          dk[to + i] = keySums[c * owned + u]!;
          dv[to + i] = valueSums[c * owned + u]!;
        }
      }
    }
  }
}
