import {
  type Buffer,
  type f32,
  type i32,
  localId,
  type Static,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { tableRow } from "./rotation.ts";

export interface RopeOptions {
  workgroupSize: number;
}

/**
 * Rotary position embedding on NeoX halves: lanes i and i + dim/2 of a head rotate by the angle of table row
 * positions[batch] + t.
 *
 * Grid: an invocation takes a pair of lanes, then every (workgroupCount * workgroupSize)-th of the
 * batch * seq * heads * dim/2 pairs.
 *
 * @param x f32[batch, seq, heads, dim] with xStride elements between (batch, seq) rows
 * @param cos f32[length, dim/2]
 * @param sin f32[length, dim/2]
 * @param positions i32[batch]; rows outside the table are clamped to it
 * @param out f32[batch, seq, heads, dim], contiguous
 * @param rows batch * seq
 */
export function rope(
  options: Static<RopeOptions>,
  x: Buffer<f32>,
  cos: Buffer<f32>,
  sin: Buffer<f32>,
  positions: Buffer<i32>,
  out: Buffer<f32>,
  rows: i32,
  seq: i32,
  heads: i32,
  dim: i32,
  length: i32,
  xStride: i32,
): void {
  const half = dim >> 1;
  const rowPairs = heads * half;
  const stride = workgroupCount() * options.workgroupSize;
  for (let pair = workgroupId() * options.workgroupSize + localId(); pair < rows * rowPairs; pair += stride) {
    const row = pair / rowPairs;
    const head = (pair - row * rowPairs) / half;
    const i = pair % half;
    const position = positions[row / seq]! + (row % seq);
    const angle = tableRow(position, length, half) + i;
    const from = row * xStride + head * dim + i;
    const to = (row * heads + head) * dim + i;
    const low = x[from]!;
    const high = x[from + half]!;
    out[to] = low * cos[angle]! - high * sin[angle]!;
    out[to + half] = high * cos[angle]! + low * sin[angle]!;
  }
}
