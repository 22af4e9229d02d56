import type { Buffer, f32, i32, Static } from "bitloom/kernel";

/** What a specialization of {@link attention} fixes. */
export interface AttentionOptions {
  /** Keys and values are caches [slots, capacity, kvHeads, dim] addressed by `slots` and `positions`. */
  cached: boolean;
}

/**
 * Causal attention with grouped queries; kv head h serves q heads h*g..h*g+g-1, softmax in f32.
 * Query t of batch b sees keys 0..t, or with a cache rows 0..positions[b]+t of slot slots[b].
 *
 * @param q f32[batch, seq, heads, dim] with qStride elements between (batch, seq) rows
 * @param keys f32[batch, seq, kvHeads, dim] or the cache; keyStride elements between consecutive rows
 * @param values likewise, with valueStride
 * @param slots i32[batch]; never read unless cached
 * @param positions i32[batch]; never read unless cached
 * @param out f32[batch, seq, heads, dim], contiguous
 * @param scratch per thread: f32[4 * (capacity rounded up to a multiple of 4)]
 * @param capacity rows of one cache slot; without a cache, seq
 * @param scale factor of the scores, usually 1/sqrt(dim)
 * @param begin first item; an item is a (batch, seq, head), batch * seq * heads in all
 * @param end one past the last item
 */
export function attention(
  options: Static<AttentionOptions>,
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
): void {}
