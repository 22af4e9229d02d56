import { type Buffer, type f32, f32x4, type i32, type Static, select, v128 } from "bitloom/kernel";

/** What a specialization of {@link topK} fixes. */
export interface TopKOptions {
  /** The candidates are all values of a row, so that a candidate's index is its place. */
  all: boolean;
}

/** Values looked at together. */
const BLOCK = 16;

/**
 * The `count` largest of each chunk of a row's candidates, in descending order, the lower index first of equals (0
 * and -0 are equal) and NaN above all; count 1 is argmax. The results of a row's chunks lie one after the other, so
 * that they are the candidates of the next run, until one chunk has them all. Candidates of equal value lie in the
 * order of their indices.
 *
 * Blocks without a value above the least of a full list, nearly all of them, cost a comparison.
 *
 * @param values f32[rows, candidates] with stride elements between rows
 * @param indices i32[rows, candidates], contiguous: the values' indices, -1 for none; never read with `all`
 * @param outValues f32[rows, chunks, count]
 * @param outIndices i32[rows, chunks, count]; -1 beyond the candidates of a chunk, and the value there is 0
 * @param stride elements between rows of `values`
 * @param begin first item; an item is a chunk, chunks = ceil(candidates / chunk) of each row
 * @param end one past the last item
 */
export function topK(
  options: Static<TopKOptions>,
  values: Buffer<f32>,
  indices: Buffer<i32>,
  outValues: Buffer<f32>,
  outIndices: Buffer<i32>,
  candidates: i32,
  stride: i32,
  chunk: i32,
  count: i32,
  begin: i32,
  end: i32,
): void {
  const chunks = (candidates + chunk - 1) / chunk;
  for (let item = begin; item < end; item++) {
    const row = item / chunks;
    const first = (item % chunks) * chunk;
    const last = select(first + chunk < candidates, first + chunk, candidates);
    const out = item * count;
    let found: i32 = 0;
    let at = first;
    while (at < last) {
      if (found === count) at = skip(values, row * stride, at, last, outValues[out + count - 1]!);
      const stop = select(at + BLOCK < last, at + BLOCK, last);
      while (at < stop) {
        const x = values[row * stride + at]!;
        const index = options.all ? at : indices[row * candidates + at]!;
        if (index >= 0) found = insert(outValues, outIndices, out, count, found, x, index);
        at += 1;
      }
    }
    for (let i = found; i < count; i++) {
      outValues[out + i] = 0;
      outIndices[out + i] = -1;
    }
  }
}

/** The first block from `at` on that may have a value above `least`, or fewer than a block before `last`. */
function skip(values: Buffer<f32>, row: i32, at: i32, last: i32, least: f32): i32 {
  const bound = f32x4.splat(least);
  let from = at;
  while (from + BLOCK <= last) {
    // NaN stays NaN in a maximum, and is not at most the bound.
    const a = f32x4.max(v128.load(values, row + from), v128.load(values, row + from + 4));
    const b = f32x4.max(v128.load(values, row + from + 8), v128.load(values, row + from + 12));
    if (v128.anyTrue(v128.not(f32x4.le(f32x4.max(a, b), bound)))) return from;
    from += BLOCK;
  }
  return from;
}

/** Puts x behind all that are not below it, if the list of `found` has room or a last one that is; its new length. */
function insert(
  outValues: Buffer<f32>,
  outIndices: Buffer<i32>,
  out: i32,
  count: i32,
  found: i32,
  x: f32,
  index: i32,
): i32 {
  if (found === count && !isAbove(x, outValues[out + count - 1]!)) return found;
  let hole = select(found < count, found, count - 1);
  while (hole > 0 && isAbove(x, outValues[out + hole - 1]!)) {
    outValues[out + hole] = outValues[out + hole - 1]!;
    outIndices[out + hole] = outIndices[out + hole - 1]!;
    hole -= 1;
  }
  // The sum of -0 and 0 is 0.
  outValues[out + hole] = x + 0;
  outIndices[out + hole] = index;
  return select(found < count, found + 1, count);
}

/** NaN is above all but NaN, with which no comparison holds. */
function isAbove(a: f32, b: f32): boolean {
  return b <= Infinity && !(a <= b);
}
