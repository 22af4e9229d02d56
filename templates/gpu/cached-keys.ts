import { type Buffer, type i32, type Static, select } from "bitloom/kernel";

/** Where the keys and values lie that a query sees. */
export interface KeyOptions {
  /** Keys and values are caches [slots, capacity, kvHeads, dim] addressed by `slots` and `positions`. */
  cached: boolean;
}

/** How many keys query t of a batch sees: 0..t, or with a cache rows 0..positions[batch]+t. */
export function visibleKeys(
  options: Static<KeyOptions>,
  positions: Buffer<i32>,
  capacity: i32,
  batch: i32,
  t: i32,
): i32 {
  if (!options.cached) return t + 1;
  const seen = positions[batch]! + t + 1;
  const atLeastOne = select(seen < 1, 1, seen);
  return select(atLeastOne < capacity, atLeastOne, capacity);
}
