import { type Buffer, type f32, type i32, select } from "bitloom/kernel";
import { combine, dots, QUERIES, softmaxLanes, transposeRows } from "./query-block.ts";

/**
 * Causal attention without a cache, softmax in f32, eight queries at a time; kv head h serves q heads h*g..h*g+g-1.
 *
 * @param q f32[batch, seq, heads, dim] with qStride elements between (batch, seq) rows
 * @param keys f32[batch, seq, kvHeads, dim] with keyStride elements between (batch, seq) rows
 * @param values likewise, with valueStride
 * @param out f32[batch, seq, heads, dim], contiguous
 * @param scratch per thread: f32[8 * (dim + seq rounded up to a multiple of 4)]
 * @param scale factor of the scores, usually 1/sqrt(dim)
 * @param begin first item; an item is a (batch, eight queries, head), batch * ceil(seq/8) * heads in all
 * @param end one past the last item
 */
export function causalAttention(
  q: Buffer<f32>,
  keys: Buffer<f32>,
  values: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<f32>,
  seq: i32,
  heads: i32,
  kvHeads: i32,
  dim: i32,
  qStride: i32,
  keyStride: i32,
  valueStride: i32,
  scale: f32,
  begin: i32,
  end: i32,
): void {
  const shared = heads / kvHeads;
  const blocks = (seq + QUERIES - 1) / QUERIES;
  const weights = QUERIES * dim;
  for (let item = begin; item < end; item++) {
    const head = item % heads;
    const block = (item / heads) % blocks;
    const row = (item / heads / blocks) * seq;
    const first = block * QUERIES;
    const queries = select(first + QUERIES <= seq, QUERIES, seq - first);
    const seen = first + queries;
    const keyBase = row * keyStride + (head / shared) * dim;
    const valueBase = row * valueStride + (head / shared) * dim;
    transposeRows(q, (row + first) * qStride + head * dim, qStride, queries, dim, scratch, 0);
    dots(scratch, 0, keys, keyBase, keyStride, seen, dim, scratch, weights);
    softmaxLanes(scratch, weights, seen, first, scale);
    const to = ((row + first) * heads + head) * dim;
    combine(scratch, weights, values, valueBase, valueStride, seen, out, to, heads * dim, queries, dim);
  }
}
