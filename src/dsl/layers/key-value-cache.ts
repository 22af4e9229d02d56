import { type Layer, makeState } from "../layer.ts";
import { positiveInteger } from "../options.ts";

/** Keys and values of the tokens seen so far; see `keyValueCache`. */
export interface KeyValueCache<KV extends number = number, D extends number = number> extends Layer {
  readonly heads: KV;
  readonly headDim: D;
}

/**
 * Room for the keys and values of one attention, kept between calls of a language model: two states `k`
 * and `v`, f32[slots, contextLength, heads, headDim]. Declare one beside the projections of each attention
 * and hand it to `attention(q, k, v, { cache })`.
 * @throws BitloomError INVALID_OPTION for sizes below 1.
 */
export function keyValueCache<const KV extends number, const D extends number>(
  heads: KV,
  headDim: D,
): KeyValueCache<KV, D> {
  positiveInteger("keyValueCache: heads", heads);
  positiveInteger("keyValueCache: headDim", headDim);
  return makeState({ type: "keyValueCache", parameters: {} }, { heads, headDim });
}
