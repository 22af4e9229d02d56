import {
  type Buffer,
  type f32,
  type i32,
  localId,
  type Static,
  select,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { tableRow } from "./rotation.ts";

export interface RopeCacheOptions {
  workgroupSize: number;
}

/**
 * Rotates new queries and keys by their positions, and puts new keys and values into their places in the caches. One
 * dispatch does what two of rope and two of cache-write would.
 *
 * Grid: an invocation takes a pair of lanes, then every (workgroupCount * workgroupSize)-th of the
 * rows * (heads + 2 * kvHeads) * dim/2 pairs.
 *
 * @param x f32, xStride elements between (batch, seq) rows; a row has queries [heads, dim] from element qOffset on, and
 *   keys and values [kvHeads, dim] each from keyOffset and valueOffset on
 * @param cos f32[length, dim/2]
 * @param sin f32[length, dim/2]
 * @param slots i32[batch], the cache slot of each sequence
 * @param positions i32[batch], where row 0 of each sequence goes; rows outside the tables are rotated as the nearest,
 *   and those outside the capacity are dropped from the caches
 * @param keys f32[slots, capacity, kvHeads, dim]
 * @param values likewise
 * @param out f32[batch, seq, heads, dim], contiguous: the rotated queries
 * @param rows batch * seq
 */
export function ropeCache(
  options: Static<RopeCacheOptions>,
  x: Buffer<f32>,
  cos: Buffer<f32>,
  sin: Buffer<f32>,
  slots: Buffer<i32>,
  positions: Buffer<i32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  out: Buffer<f32>,
  rows: i32,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  length: i32,
  capacity: i32,
  xStride: i32,
  qOffset: i32,
  keyOffset: i32,
  valueOffset: i32,
): void {
  const half = dim >> 1;
  const rowPairs = (heads + 2 * kvHeads) * half;
  const stride = workgroupCount() * options.workgroupSize;
  for (let pair = workgroupId() * options.workgroupSize + localId(); pair < rows * rowPairs; pair += stride) {
    const row = pair / rowPairs;
    const head = (pair - row * rowPairs) / half;
    const i = pair % half;
    const batch = row / seq;
    const position = positions[batch]! + (row % seq);
    const isQuery = head < heads;
    const isKey = head < heads + kvHeads;
    const first = select(isQuery, 0, select(isKey, heads, heads + kvHeads));
    const offset = select(isQuery, qOffset, select(isKey, keyOffset, valueOffset));
    const from = row * xStride + offset + (head - first) * dim + i;
    const low = x[from]!;
    const high = x[from + half]!;
    const angle = tableRow(position, length, half) + i;
    const c = cos[angle]!;
    const s = sin[angle]!;
    const cached = ((slots[batch]! * capacity + position) * kvHeads + head - first) * dim + i;
    if (isQuery) {
      const to = (row * heads + head) * dim + i;
      out[to] = low * c - high * s;
      out[to + half] = high * c + low * s;
    } else if (position >= 0 && position < capacity) {
      if (isKey) {
        keys[cached] = low * c - high * s;
        keys[cached + half] = high * c + low * s;
      } else {
        values[cached] = low;
        values[cached + half] = high;
      }
    }
  }
}
