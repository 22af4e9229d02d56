import type { DType } from "../../../ir/types.ts";
import { knownOptions, oneOf } from "../options.ts";
import type { Broadcast, Dims, ShapeError, Show } from "../shape-types.ts";
import type { Tensor } from "../tensor.ts";
import { traceOf } from "../trace.ts";

type UnaryOp =
  | "relu"
  | "relu2"
  | "silu"
  | "gelu"
  | "gelu_tanh"
  | "sigmoid"
  | "tanh"
  | "erf"
  | "exp"
  | "log"
  | "sqrt"
  | "rsqrt"
  | "reciprocal"
  | "abs"
  | "neg";

function unary<S extends Dims>(op: UnaryOp, x: Tensor<"f32", S>): Tensor<"f32", S> {
  return traceOf(op, x).tensor(op, [x], {});
}

/** max(x, 0), element by element: `[...]` -> `[...]`. */
export const relu = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("relu", x);

/** max(x, 0)^2, the activation of BitNet b1.58 2B4T's feed-forward (arXiv:2504.12285): `[...]` -> `[...]`. */
export const relu2 = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("relu2", x);

/** x * sigmoid(x), the gate of Llama's feed-forward (SwiGLU, arXiv:2002.05202): `[...]` -> `[...]`. */
export const silu = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("silu", x);

/**
 * x * Phi(x) with the normal distribution function Phi (arXiv:1606.08415): `[...]` -> `[...]`.
 * `{ approximate: "tanh" }` gives the tanh formula that GPT-2 was trained with.
 */
export function gelu<S extends Dims>(
  x: Tensor<"f32", S>,
  options: { readonly approximate?: "none" | "tanh" } = {},
): Tensor<"f32", S> {
  knownOptions("gelu", options, ["approximate"]);
  const approximate = oneOf("gelu: approximate", options.approximate ?? "none", ["none", "tanh"]);
  return unary(approximate === "tanh" ? "gelu_tanh" : "gelu", x);
}

/** 1 / (1 + e^-x): `[...]` -> `[...]`. */
export const sigmoid = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("sigmoid", x);

/** Hyperbolic tangent: `[...]` -> `[...]`. */
export const tanh = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("tanh", x);

/** e^x: `[...]` -> `[...]`. */
export const exp = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("exp", x);

/** Natural logarithm: `[...]` -> `[...]`. */
export const log = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("log", x);

/** Square root: `[...]` -> `[...]`. */
export const sqrt = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("sqrt", x);

/** Absolute value: `[...]` -> `[...]`. */
export const abs = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("abs", x);

/** -x: `[...]` -> `[...]`. */
export const neg = <S extends Dims>(x: Tensor<"f32", S>): Tensor<"f32", S> => unary("neg", x);

/** A tensor, or a number that meets every element. */
type Operand = Tensor<"f32" | "i32"> | number;

/** `unknown` when `a` and `b` meet element by element, an error that says why not otherwise. */
type CheckOperands<A extends Operand, B extends Operand> = A extends number
  ? B extends number
    ? ShapeError<"one of the two must be a tensor">
    : unknown
  : B extends A | number
    ? unknown
    : [A, B] extends [Tensor<infer DA, infer SA>, Tensor<infer DB, infer SB>]
      ? [DA] extends [DB]
        ? [Broadcast<SA, SB>] extends [never]
          ? ShapeError<`cannot broadcast ${Show<SA>} with ${Show<SB>}`>
          : unknown
        : ShapeError<`one dtype is needed, not ${DA} and ${DB}: insert a cast`>
      : never;

type Result<A extends Operand, B extends Operand> = [A, B] extends [B, A]
  ? Extract<A, Tensor>
  : A extends number
    ? Extract<B, Tensor>
    : B extends number
      ? Extract<A, Tensor>
      : [A, B] extends [Tensor<infer D extends DType, infer SA>, Tensor<DType, infer SB>]
        ? Tensor<D, Broadcast<SA, SB>>
        : never;

function binary<A extends Operand, B extends Operand>(
  op: "add" | "sub" | "mul" | "div" | "max" | "min",
  a: A,
  b: B,
): Result<A, B> {
  const name = { max: "maximum", min: "minimum" }[op as string] ?? op;
  const tensors = [a, b].filter((x) => typeof x !== "number");
  const trace = traceOf(name, ...(tensors.length === 0 ? [a] : tensors));
  const operand = (x: Operand): Tensor => {
    if (typeof x !== "number") return x;
    const { dtype } = tensors[0] as Tensor<"f32" | "i32">;
    return trace.tensor("constant", [], { value: x, dtype });
  };
  return trace.tensor(op, [operand(a), operand(b)], {}) as Result<A, B>;
}

/** a + b with numpy broadcasting, e.g. `[batch, 256]` and `[256]` -> `[batch, 256]`; f32 or i32, or a number. */
export const add = <A extends Operand, B extends Operand>(a: A, b: B & CheckOperands<A, B>): Result<A, B> =>
  binary<A, B>("add", a, b);

/** a - b with numpy broadcasting; f32 or i32, or a number. */
export const sub = <A extends Operand, B extends Operand>(a: A, b: B & CheckOperands<A, B>): Result<A, B> =>
  binary<A, B>("sub", a, b);

/** a * b, element by element with numpy broadcasting; f32 or i32, or a number. */
export const mul = <A extends Operand, B extends Operand>(a: A, b: B & CheckOperands<A, B>): Result<A, B> =>
  binary<A, B>("mul", a, b);

type FloatOperand = Tensor<"f32"> | number;

/** a / b, element by element with numpy broadcasting; f32, or a number. */
export const div = <A extends FloatOperand, B extends FloatOperand>(
  a: A,
  b: B & CheckOperands<A, B>,
): Result<A, B> => binary<A, B>("div", a, b);

/** The larger of a and b, element by element with numpy broadcasting; f32 or i32, or a number. */
export const maximum = <A extends Operand, B extends Operand>(
  a: A,
  b: B & CheckOperands<A, B>,
): Result<A, B> => binary<A, B>("max", a, b);

/** The smaller of a and b, element by element with numpy broadcasting; f32 or i32, or a number. */
export const minimum = <A extends Operand, B extends Operand>(
  a: A,
  b: B & CheckOperands<A, B>,
): Result<A, B> => binary<A, B>("min", a, b);
