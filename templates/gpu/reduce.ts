import {
  type Buffer,
  convert,
  type f32,
  type i32,
  localId,
  math,
  type Shared,
  type Static,
  select,
  shared,
  workgroupBarrier,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";

/** How a workgroup reduces along columns. */
export interface ColumnOptions {
  /** Invocations of a workgroup, a power of two. */
  workgroupSize: number;
  /** Neighbouring results of a workgroup, a power of two; the invocations of each share its elements. */
  columns: number;
}

/** What a specialization of {@link reduce} fixes. */
export interface ReduceOptions extends ColumnOptions {
  kind: "sum" | "mean" | "max" | "min";
}

/**
 * Reduction along the middle of three axes: out[o, i] = the sum, mean, maximum or minimum of
 * x[o * outerStride + l * stride + i * innerStride] over l. Elements are combined in an order that only the options and
 * `length` decide.
 *
 * Grid: a workgroup takes `columns` neighbouring i of one o, then every workgroupCount-th such tile.
 *
 * @param out f32[outer, inner], contiguous
 * @param length at least 1
 */
export function reduce(
  options: Static<ReduceOptions>,
  x: Buffer<f32>,
  out: Buffer<f32>,
  outer: i32,
  length: i32,
  inner: i32,
  outerStride: i32,
  stride: i32,
  innerStride: i32,
): void {
  const { workgroupSize, columns, kind } = options;
  const slots = shared<f32>(workgroupSize);
  const local = localId();
  const column = local % columns;
  const member = local / columns;
  const members = workgroupSize / columns;
  const across = (inner + columns - 1) / columns;

  const combine = (a: f32, b: f32): f32 => {
    if (kind === "max") return math.max(a, b);
    if (kind === "min") return math.min(a, b);
    return a + b;
  };
  for (let tile = workgroupId(); tile < outer * across; tile += workgroupCount()) {
    const o = tile / across;
    const i = (tile - o * across) * columns + column;
    // Columns past the last repeat it; their results are dropped.
    const from = o * outerStride + select(i < inner, i, inner - 1) * innerStride;
    let total: f32 = 0;
    // Any element is as good as none for a maximum or a minimum.
    if (kind === "max" || kind === "min") total = x[from]!;
    for (let l = member; l < length; l += members) total = combine(total, x[from + l * stride]!);
    total = combineMembers(options, slots, total, combine);
    if (member === 0 && i < inner) {
      if (kind === "mean") out[o * inner + i] = total / convert.i32ToF32(length);
      else out[o * inner + i] = total;
    }
  }
}

/**
 * Combines what the invocations of each column have, those with equal localId() % columns, for all of them. `slots` has
 * room for workgroupSize elements and is free again afterwards. All invocations must call it together.
 */
export function combineMembers(
  options: Static<ColumnOptions>,
  slots: Shared<f32>,
  mine: f32,
  combine: (a: f32, b: f32) => f32,
): f32 {
  const local = localId();
  slots[local] = mine;
  workgroupBarrier();
  for (let distance: i32 = options.workgroupSize / 2; distance >= options.columns; distance >>= 1) {
    if (local < distance) slots[local] = combine(slots[local]!, slots[local + distance]!);
    workgroupBarrier();
  }
  const total = slots[local % options.columns]!;
  workgroupBarrier();
  return total;
}
