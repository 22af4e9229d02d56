import {
  convert,
  type i32,
  localId,
  type Registers,
  type Shared,
  type Static,
  subgroupAdd,
  subgroupId,
  subgroupLane,
  subgroupShuffleXor,
  subgroupSize,
  type u32,
  unroll,
  type word,
  workgroupBarrier,
} from "bitloom/kernel";
import type { WorkgroupOptions } from "./workgroup.ts";

/**
 * Adds up `results` sums that the invocations of a workgroup have parts of; with `lanes` 4 those with equal
 * localId() & 3 have sums of their own. Then calls `use` once for each sum, with its index and its lane. All
 * invocations must call it together.
 *
 * @param partials results * workgroupSize elements
 * @param mine this invocation's parts; not to be used afterwards
 */
export function workgroupSums(
  options: Static<WorkgroupOptions>,
  lanes: 1 | 4,
  results: number,
  partials: Shared,
  mine: Registers<word>,
  use: (sum: word, index: i32, lane: i32) => void,
): void {
  // Parts of sum i and lane l lie at (lanes * i + l) * members, one after the other.
  const members = options.workgroupSize / lanes;
  const local = localId();
  let count: i32 = 1;
  if (options.subgroups) {
    if (lanes === 1) {
      for (const i of unroll(results)) mine[i] = subgroupAdd(mine[i]!);
    } else {
      const end = convert.i32ToU32(subgroupSize());
      for (let mask: u32 = lanes; mask < end && mask < options.workgroupSize; mask *= 2) {
        for (const i of unroll(results)) mine[i] = mine[i]! + subgroupShuffleXor(mine[i]!, mask);
      }
    }
    const lane = subgroupLane();
    if (lane < lanes) {
      for (const i of unroll(results)) partials[(lanes * i + lane) * members + subgroupId()] = mine[i]!;
    }
    workgroupBarrier();
    count = (options.workgroupSize + subgroupSize() - 1) / subgroupSize();
  } else {
    const place = (local % lanes) * members + local / lanes;
    for (const i of unroll(results)) partials[lanes * i * members + place] = mine[i]!;
    workgroupBarrier();
    for (let distance: i32 = members / 2; distance > 0; distance >>= 1) {
      if (local / lanes < distance) {
        for (const i of unroll(results)) {
          const at = lanes * i * members + place;
          partials[at] = partials[at]! + partials[at + distance]!;
        }
      }
      workgroupBarrier();
    }
  }
  for (let o = local; o < lanes * results; o += options.workgroupSize) {
    let sum = partials[o * members]!;
    for (let part: i32 = 1; part < count; part++) sum += partials[o * members + part]!;
    use(sum, o / lanes, o % lanes);
  }
}
