/**
 * Scalar expressions: what one element of a fused node computes. Arguments `x0`, `x1`, … are the node's
 * extra operands at this element (broadcast over missing and size-1 axes); `acc` is the value the enclosing
 * op made (the accumulator of a matmul). Every step rounds to f32, so fusing never changes a result.
 * Text form: `add(mul(mul(acc, x0), x1), x2)`, literals as `1.5`.
 */
export type ScalarExpr =
  | { readonly kind: "acc" }
  | { readonly kind: "arg"; readonly index: number }
  | { readonly kind: "literal"; readonly value: number }
  | { readonly kind: "apply"; readonly fn: ScalarFunction; readonly args: readonly ScalarExpr[] };

export type UnaryFunction =
  | "neg"
  | "abs"
  | "exp"
  | "log"
  | "sqrt"
  | "rsqrt"
  | "reciprocal"
  | "tanh"
  | "sigmoid"
  | "erf"
  | "relu"
  | "relu2"
  | "silu"
  | "gelu"
  | "gelu_tanh"
  /** i32 -> f32 and f32 -> f32; the accumulator's conversion. */
  | "to_f32";
export type BinaryFunction = "add" | "sub" | "mul" | "div" | "max" | "min";
export type ScalarFunction = UnaryFunction | BinaryFunction;
