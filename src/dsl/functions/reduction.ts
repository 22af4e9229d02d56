import { invalidOption, knownOptions } from "../options.ts";
import type { Axes, Axis, Dims, Reduce } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { traceOf } from "../trace.ts";

/** Which axis a reduction folds. */
export interface ReductionOptions<A extends number, Keep extends boolean> {
  /** The axis to fold; negative counts from the last. */
  readonly axis: A;
  /** Keep the axis with length 1, so that the result broadcasts with the tensor. Default `false`. */
  readonly keepDims?: Keep;
}

function reduce<S extends Dims, A extends number, Keep extends boolean>(
  op: "sum" | "mean" | "max_reduce" | "min_reduce",
  x: Tensor<"f32", S>,
  options: ReductionOptions<A, Keep>,
): Tensor<"f32", Reduce<S, A, Keep>> {
  const name = op.replace("_reduce", "");
  const trace = traceOf(name, x);
  knownOptions(name, options, ["axis", "keepDims"]);
  const rank = x.dims.length;
  if (!Number.isInteger(options.axis) || options.axis < -rank || options.axis >= rank) {
    throw invalidOption(`${name}: axis`, `an integer in ${-rank}..${rank - 1}, for ${x}`, options.axis);
  }
  return trace.tensor(op, [x], { axis: options.axis, keep_dims: options.keepDims ?? false });
}

/** Sum over one axis: `sum(x, { axis: -1 })` of `[batch, 10]` is `[batch]`, with `keepDims` `[batch, 1]`. */
export const sum = <S extends Dims, const A extends Axes<S>[Axis<S>], const Keep extends boolean = false>(
  x: Tensor<"f32", S>,
  options: ReductionOptions<A, Keep>,
): Tensor<"f32", Reduce<S, A, Keep>> => reduce("sum", x, options);

/** Arithmetic mean over one axis: `mean(x, { axis: 0 })` of `[4, 10]` is `[10]`. */
export const mean = <S extends Dims, const A extends Axes<S>[Axis<S>], const Keep extends boolean = false>(
  x: Tensor<"f32", S>,
  options: ReductionOptions<A, Keep>,
): Tensor<"f32", Reduce<S, A, Keep>> => reduce("mean", x, options);

/** Largest element over one axis; see `maximum` for the larger of two tensors. */
export const max = <S extends Dims, const A extends Axes<S>[Axis<S>], const Keep extends boolean = false>(
  x: Tensor<"f32", S>,
  options: ReductionOptions<A, Keep>,
): Tensor<"f32", Reduce<S, A, Keep>> => reduce("max_reduce", x, options);

/** Smallest element over one axis; see `minimum` for the smaller of two tensors. */
export const min = <S extends Dims, const A extends Axes<S>[Axis<S>], const Keep extends boolean = false>(
  x: Tensor<"f32", S>,
  options: ReductionOptions<A, Keep>,
): Tensor<"f32", Reduce<S, A, Keep>> => reduce("min_reduce", x, options);

/** e^x / sum(e^x) over the last axis, with the maximum taken out first: `[..., n]` -> `[..., n]`. */
export const softmax = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> =>
  traceOf("softmax", x).tensor("softmax", [x], {});
