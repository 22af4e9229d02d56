import {
  type i32,
  localId,
  type Shared,
  type Static,
  select,
  subgroupAdd,
  subgroupId,
  subgroupLane,
  subgroupMax,
  subgroupSize,
  type word,
  workgroupBarrier,
} from "bitloom/kernel";

/** What every specialization of a kernel for workgroups fixes. */
export interface WorkgroupOptions {
  /** Invocations of a workgroup: a power of two, 32 to 256. */
  workgroupSize: number;
  /** Combine values with subgroup operations, whatever the subgroups' size. */
  subgroups: boolean;
}

/** The sum of x over the workgroup, for every invocation; of f32 in an order that the device chooses. */
export function workgroupSum(options: Static<WorkgroupOptions>, slots: Shared, zero: word, x: word): word {
  return combine(
    options,
    slots,
    zero,
    x,
    (a: word, b: word) => a + b,
    (a: word) => subgroupAdd(a),
  );
}

/** The largest x of the workgroup, for every invocation; `lowest` is at most every x. */
export function workgroupMax(options: Static<WorkgroupOptions>, slots: Shared, lowest: word, x: word): word {
  return combine(
    options,
    slots,
    lowest,
    x,
    (a: word, b: word) => select(a > b, a, b),
    (a: word) => subgroupMax(a),
  );
}

/**
 * Combines x over the workgroup. `slots` has room for workgroupSize elements and is free again afterwards. All
 * invocations must call it together.
 */
function combine(
  options: Static<WorkgroupOptions>,
  slots: Shared,
  neutral: word,
  x: word,
  pair: (a: word, b: word) => word,
  across: (a: word) => word,
): word {
  if (options.subgroups) {
    const partial = across(x);
    if (subgroupLane() === 0) slots[subgroupId()] = partial;
    workgroupBarrier();
    const count = (options.workgroupSize + subgroupSize() - 1) / subgroupSize();
    let rest = neutral;
    for (let slot = subgroupLane(); slot < count; slot += subgroupSize()) rest = pair(rest, slots[slot]!);
    const total = across(rest);
    workgroupBarrier();
    return total;
  }
  const local = localId();
  slots[local] = x;
  workgroupBarrier();
  for (let distance: i32 = options.workgroupSize / 2; distance > 0; distance >>= 1) {
    if (local < distance) slots[local] = pair(slots[local]!, slots[local + distance]!);
    workgroupBarrier();
  }
  const total = slots[0]!;
  workgroupBarrier();
  return total;
}
