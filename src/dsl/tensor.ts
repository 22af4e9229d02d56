import type { Value } from "../../ir/graph.ts";
import type { Dim, DType } from "../../ir/types.ts";
import type { Dims } from "./shape-types.ts";
import type { Trace } from "./trace.ts";

/**
 * A tensor of a model being described: its element type and its dims, known to TypeScript. Dims are literal
 * numbers, or names (`"batch"`, `"seq"`) of lengths that are chosen when the model runs. A tensor holds no
 * data; functions and layers make new ones, and the model's graph remembers how.
 */
export class Tensor<D extends DType = DType, S extends Dims = Dims> {
  readonly dtype: D;
  readonly dims: S;
  /** The trace this tensor belongs to; two models' tensors do not mix. */
  readonly #trace: Trace;
  readonly #value: Value;

  /** Tensors come from a model's inputs, layers and functions; user code never calls this. */
  constructor(trace: Trace, value: Value) {
    this.dtype = value.type.dtype as D;
    this.dims = value.type.dims as Dims as S;
    this.#trace = trace;
    this.#value = value;
  }

  /** For the DSL itself: what a tensor stands for. */
  static internals(tensor: Tensor): { readonly trace: Trace; readonly value: Value } {
    return { trace: tensor.#trace, value: tensor.#value };
  }

  static is(candidate: unknown): candidate is Tensor {
    return typeof candidate === "object" && candidate !== null && #value in candidate;
  }

  /** `f32[batch, 784]` */
  toString(): string {
    return `${this.dtype}[${this.dims.join(", ")}]`;
  }
}

/** The declaration of an input: dtype and dims, before there is a tensor. */
export interface TensorSpec<D extends DType = DType, S extends Dims = Dims> {
  readonly dtype: D;
  readonly dims: S;
}

/** The tensor that a declared input becomes. */
export type TensorOf<Spec extends TensorSpec> =
  Spec extends TensorSpec<infer D, infer S> ? Tensor<D, S> : never;

function spec<D extends DType>(dtype: D) {
  return <const S extends Dim[]>(...dims: S): TensorSpec<D, S> => ({ dtype, dims });
}

/**
 * Declares a float input: `f32("batch", 784)`. A number is a fixed length, a string names a length that is
 * chosen at each call (1 up to the bound in the model's `symbols`).
 */
export const f32 = spec("f32");

/** Declares a 32-bit integer input, such as token ids: `i32("batch", "seq")`. */
export const i32 = spec("i32");
