import type { DType } from "../../../ir/types.ts";
import { invalidOption, isDim, knownOptions, oneOf } from "../options.ts";
import type {
  Axes,
  Axis,
  CheckConcat,
  CheckPermutation,
  CheckReshape,
  CheckSlice,
  Concat,
  Dims,
  Permute,
  Plain,
  ReplaceAxis,
  ShapeError,
} from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { traceOf } from "../trace.ts";

/**
 * The same elements in row-major order under other dims: `reshape(x, ["batch", 4, 64])` of `[batch, 256]`.
 * The lengths must have equal products and the names must be the same ones.
 */
export function reshape<D extends DType, S extends Dims, const To extends Dims>(
  x: Tensor<D, S>,
  dims: To & CheckReshape<S, To>,
): Tensor<D, Plain<To>> {
  const trace = traceOf("reshape", x);
  if (!Array.isArray(dims) || !dims.every(isDim)) {
    throw invalidOption("reshape: dims", "a list of lengths of at least 1 and of names", dims);
  }
  return trace.tensor("reshape", [x], { dims: [...(dims as Dims)] });
}

/** Reorders axes: axis i of the result is axis permutation[i] of `x`. `[a, b, c]` by `[0, 2, 1]` is `[a, c, b]`. */
export function transpose<D extends DType, S extends Dims, const P extends readonly number[]>(
  x: Tensor<D, S>,
  permutation: P & CheckPermutation<S, P>,
): Tensor<D, Permute<S, P>> {
  const trace = traceOf("transpose", x);
  if (!Array.isArray(permutation))
    throw invalidOption("transpose: permutation", "a list of axes", permutation);
  return trace.tensor("transpose", [x], { permutation: [...(permutation as readonly number[])] });
}

/** Which rows of an axis a slice keeps. */
export interface SliceOptions<A extends number, Size extends number, Start extends number = number> {
  /** Negative counts from the last axis. */
  readonly axis: A;
  /** First kept index; negative counts from the end of the axis. */
  readonly start: Start;
  /** How many are kept. */
  readonly size: Size;
}

/** A range of one axis: `slice(x, { axis: 1, start: -1, size: 1 })` of `[batch, seq, 64]` is `[batch, 1, 64]`. */
export function slice<
  D extends DType,
  S extends Dims,
  const A extends Axes<S>[Axis<S>],
  const Start extends number,
  const Size extends number,
>(
  x: Tensor<D, S>,
  options: SliceOptions<A, Size & CheckSlice<S, A, Start, Size>, Start>,
): Tensor<D, ReplaceAxis<S, A, [Size]>> {
  const trace = traceOf("slice", x);
  knownOptions("slice", options, ["axis", "start", "size"]);
  const { axis, start, size } = options;
  return trace.tensor("slice", [x], { axis, start, size });
}

/** The dims of the first tensor of a tuple, which has the axes of all. */
type DimsOfFirst<All extends readonly Tensor[]> = All[0] extends Tensor<DType, infer S> ? S : Dims;

/** The dims of each tensor of a tuple. */
type DimsOf<All extends readonly Tensor[]> = { -readonly [I in keyof All]: All[I]["dims"] };

/** `unknown` when the tensors have one dtype and agree outside of the axis. */
type CheckParts<All extends readonly Tensor[], A extends number> = [All[number]] extends [
  Tensor<All[0] extends Tensor<infer D> ? D : DType>,
]
  ? CheckConcat<DimsOf<All>, A>
  : ShapeError<`one dtype is needed, not ${All[number]["dtype"]}: insert a cast`>;

/** Joins tensors along one axis, whose lengths must be literal: `[batch, 2]` and `[batch, 3]` -> `[batch, 5]`. */
export function concat<
  const All extends readonly Tensor[],
  const A extends Axes<DimsOfFirst<All>>[Axis<DimsOfFirst<All>>],
>(
  tensors: All & CheckParts<All, A>,
  options: { readonly axis: A },
): Tensor<All[number]["dtype"], Concat<DimsOf<All>, A>> {
  const list = tensors as readonly Tensor[];
  if (!Array.isArray(list) || list.length === 0) {
    throw invalidOption("concat: tensors", "a list of at least one tensor", tensors);
  }
  const trace = traceOf("concat", ...list);
  knownOptions("concat", options, ["axis"]);
  return trace.tensor("concat", list, { axis: options.axis });
}

/** Converts the elements: to f32 exactly up to 2^24, to i32 by truncation toward zero. */
export function cast<S extends Dims, const To extends "f32" | "i32">(
  x: Tensor<DType, S>,
  dtype: To,
): Tensor<To, S> {
  const trace = traceOf("cast", x);
  return trace.tensor("cast", [x], { dtype: oneOf("cast: dtype", dtype, ["f32", "i32"]) });
}
