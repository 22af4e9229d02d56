import type { Dim, DType } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import { elementCount, evaluate, product, sameExpr, sum } from "./symbols.ts";

/**
 * Where a value lies: element `index` is at `offset + Σ index[i] * strides[i]` of its buffer, counted in
 * elements. Reshapes, slices, transposes and broadcasts make new views of the same buffer; nothing moves
 * until a kernel needs another order.
 */
export interface View<Buffer> {
  readonly buffer: Buffer;
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  readonly offset: SymbolExpr;
  readonly strides: readonly SymbolExpr[];
}

/** Row-major strides of a shape. */
export function contiguousStrides(dims: readonly Dim[]): SymbolExpr[] {
  const strides = new Array<SymbolExpr>(dims.length).fill(1);
  for (let axis = dims.length - 2; axis >= 0; axis--) {
    strides[axis] = product(strides[axis + 1]!, dims[axis + 1]!);
  }
  return strides;
}

export function contiguousView<Buffer>(buffer: Buffer, dtype: DType, dims: readonly Dim[]): View<Buffer> {
  return { buffer, dtype, dims, offset: 0, strides: contiguousStrides(dims) };
}

/** Whether the elements lie row-major and without gaps. Strides of axes of length 1 do not matter. */
export function isContiguous(view: View<unknown>): boolean {
  const expected = contiguousStrides(view.dims);
  return view.strides.every((stride, axis) => view.dims[axis] === 1 || sameExpr(stride, expected[axis]!));
}

/** Several shapes of one iteration space with axes of length 1 dropped and mergeable neighbours merged. */
export interface MergedAxes {
  readonly dims: readonly SymbolExpr[];
  /** Strides per operand, then per merged axis. */
  readonly strides: readonly (readonly SymbolExpr[])[];
}

/** Merges neighbouring axes wherever every operand steps through both of them with one stride. */
export function mergeAxes(
  dims: readonly SymbolExpr[],
  operands: readonly (readonly SymbolExpr[])[],
): MergedAxes {
  const merged: SymbolExpr[] = [];
  const strides: SymbolExpr[][] = operands.map(() => []);
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const dim = dims[axis]!;
    if (dim === 1) continue;
    const inner = merged[0];
    const joins =
      inner !== undefined &&
      operands.every((operand, i) => sameExpr(operand[axis]!, product(strides[i]![0]!, inner)));
    if (joins) merged[0] = product(dim, inner);
    else {
      merged.unshift(dim);
      operands.forEach((operand, i) => {
        strides[i]!.unshift(operand[axis]!);
      });
    }
  }
  return { dims: merged, strides };
}

/** Reads a view with the dims of a wider shape, numpy style: missing and length-1 axes repeat. */
export function broadcastView<Buffer>(view: View<Buffer>, dims: readonly Dim[]): View<Buffer> {
  const missing = dims.length - view.dims.length;
  const strides = dims.map((dim, axis): SymbolExpr => {
    const own = view.dims[axis - missing];
    return own === undefined || (own === 1 && dim !== 1) ? 0 : view.strides[axis - missing]!;
  });
  return { ...view, dims, strides };
}

export function transposeView<Buffer>(view: View<Buffer>, permutation: readonly number[]): View<Buffer> {
  return {
    ...view,
    dims: permutation.map((axis) => view.dims[axis]!),
    strides: permutation.map((axis) => view.strides[axis]!),
  };
}

/** Elements `start .. start + size` of an axis; a negative start counts from the axis' end. */
export function sliceView<Buffer>(view: View<Buffer>, axis: number, start: number, size: Dim): View<Buffer> {
  const first = start < 0 ? sum(view.dims[axis]!, start) : start;
  return {
    ...view,
    dims: view.dims.map((dim, i) => (i === axis ? size : dim)),
    offset: sum(view.offset, product(first, view.strides[axis]!)),
  };
}

/** Symbols take distinct primes, so that two products of dims compare as numbers just where they are equal. */
function magnitude(dims: readonly Dim[]): number {
  const symbols = [...new Set(dims.filter((dim) => typeof dim === "string"))].sort();
  const primes = [1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049];
  const bindings = new Map(symbols.map((name, i) => [name, primes[i % primes.length]!]));
  return evaluate(elementCount(dims), bindings);
}

/**
 * The same elements in row-major order under other dims, or undefined where that needs a copy: each run of
 * old axes that becomes a run of new ones must be steppable with one stride.
 */
export function reshapeView<Buffer>(view: View<Buffer>, dims: readonly Dim[]): View<Buffer> | undefined {
  if (isContiguous(view)) return { ...view, dims, strides: contiguousStrides(dims) };
  const oldAxes = view.dims.map((_, axis) => axis).filter((axis) => view.dims[axis] !== 1);
  const newAxes = dims.map((_, axis) => axis).filter((axis) => dims[axis] !== 1);
  const strides = new Array<SymbolExpr>(dims.length).fill(0);
  while (oldAxes.length > 0 && newAxes.length > 0) {
    const oldRun = [oldAxes.shift()!];
    const newRun = [newAxes.shift()!];
    const oldDims = () => oldRun.map((axis) => view.dims[axis]!);
    const newDims = () => newRun.map((axis) => dims[axis]!);
    while (!sameExpr(elementCount(oldDims()), elementCount(newDims()))) {
      const next = magnitude(oldDims()) < magnitude(newDims()) ? oldAxes : newAxes;
      const run = next === oldAxes ? oldRun : newRun;
      const axis = next.shift();
      if (axis === undefined) return undefined;
      run.push(axis);
    }
    const merged = mergeAxes(oldDims(), [oldRun.map((axis) => view.strides[axis]!)]);
    if (merged.dims.length !== 1) return undefined;
    let stride = merged.strides[0]![0]!;
    for (const axis of newRun.reverse()) {
      strides[axis] = stride;
      stride = product(stride, dims[axis]!);
    }
  }
  return { ...view, dims, strides };
}

/** A view as a matrix: all leading axes flattened to rows. */
export interface Rows {
  readonly rows: SymbolExpr;
  readonly columns: Dim;
  /** Elements from one row to the next. */
  readonly rowStride: SymbolExpr;
  /** Elements from one column to the next. */
  readonly columnStride: SymbolExpr;
}

/** The view as rows of its last axis, or undefined where no single row stride steps through them. */
export function rowsOf(view: View<unknown>): Rows | undefined {
  const columns = view.dims.at(-1) ?? 1;
  const columnStride = columns === 1 ? 1 : view.strides.at(-1)!;
  const { dims, strides } = mergeAxes(view.dims.slice(0, -1), [view.strides.slice(0, -1)]);
  if (dims.length > 1) return undefined;
  return { rows: dims[0] ?? 1, columns, rowStride: strides[0]![0] ?? columns, columnStride };
}
