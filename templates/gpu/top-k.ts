import {
  type Buffer,
  bits,
  type f32,
  type i32,
  localId,
  type Static,
  select,
  shared,
  type u32,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { type WorkgroupOptions, workgroupMax } from "./workgroup.ts";

/** What a specialization of {@link topK} fixes. */
export interface TopKOptions extends WorkgroupOptions {
  /** The candidates are all values of a row, so that a candidate's index is its place. */
  all: boolean;
}

/**
 * The `count` largest of each chunk of a row's candidates, in descending order, the lower index first of equals (0
 * and -0 are equal) and NaN above all; count 1 is argmax. The results of a row's chunks lie one after the other, so
 * that they are the candidates of the next run, until one chunk has them all.
 *
 * Grid: x = chunks of all rows, ceil(candidates / chunk) each, or fewer workgroups that each go on to every so-many-th.
 *
 * @param values f32[rows, candidates] with stride elements between rows
 * @param indices i32[rows, candidates], contiguous: the values' indices, -1 for none; never read with `all`
 * @param outValues f32[rows, chunks, count]
 * @param outIndices i32[rows, chunks, count]; -1 beyond the candidates of a chunk, and the value there is 0
 * @param stride elements between rows of `values`
 */
export function topK(
  options: Static<TopKOptions>,
  values: Buffer<f32>,
  indices: Buffer<i32>,
  outValues: Buffer<f32>,
  outIndices: Buffer<i32>,
  rows: i32,
  candidates: i32,
  stride: i32,
  chunk: i32,
  count: i32,
): void {
  const keys = shared<u32>(options.workgroupSize);
  const ids = shared<i32>(options.workgroupSize);
  const chunks = (candidates + chunk - 1) / chunk;
  for (let item = workgroupId(); item < rows * chunks; item += workgroupCount()) {
    const row = item / chunks;
    const first = (item % chunks) * chunk;
    const last = select(first + chunk < candidates, first + chunk, candidates);
    const out = item * count;
    const noKey: u32 = 0;
    const noIndex: i32 = -0x80000000;

    const indexAt = (at: i32): i32 => (options.all ? at : indices[row * candidates + at]!);

    // The winner of the round before, and this invocation's best candidate below it.
    let winnerKey: u32 = 0xffffffff;
    let winnerIndex: i32 = -1;
    let bestKey: u32 = 0;
    let bestIndex: i32 = 0;
    let stale = true;
    for (let round: i32 = 0; round < count; round++) {
      if (stale) {
        bestKey = 0;
        bestIndex = 0x7fffffff;
        for (let at = first + localId(); at < last; at += options.workgroupSize) {
          const key = orderKey(values[row * stride + at]!);
          const index = indexAt(at);
          const left = key < winnerKey || (key === winnerKey && index > winnerIndex);
          const better = key > bestKey || (key === bestKey && index < bestIndex);
          if (index >= 0 && left && better) {
            bestKey = key;
            bestIndex = index;
          }
        }
      }
      winnerKey = workgroupMax(options, keys, noKey, bestKey);
      // The lowest index of the largest key.
      const mine = select(bestKey === winnerKey, -bestIndex, noIndex);
      winnerIndex = -workgroupMax(options, ids, noIndex, mine);
      stale = bestKey === winnerKey && bestIndex === winnerIndex;
      if (localId() === 0) {
        const found = winnerKey !== 0;
        outIndices[out + round] = select(found, winnerIndex, -1);
        outValues[out + round] = bits.u32ToF32(select(found, valueBits(winnerKey), 0));
      }
    }
  }
}

/** A key in the order of values: above 0, NaN is the largest, and -0 has that of 0. */
function orderKey(value: f32): u32 {
  const word = bits.f32ToU32(value);
  const magnitude = word & 0x7fffffff;
  const negative = word > 0x80000000;
  const key = select(negative, 0xffffffff - word, magnitude | 0x80000000);
  return select(magnitude > 0x7f800000, 0xffffffff, key);
}

/** The bits of the value a key stands for. */
function valueBits(key: u32): u32 {
  return select(key >= 0x80000000, key & 0x7fffffff, 0xffffffff - key);
}
