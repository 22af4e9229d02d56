/**
 * Symbolic derivatives of scalar expressions: what elementwise ops, fused or not, need of calculus. At a kink the
 * derivative is what PyTorch takes: relu and abs have 0 at 0, max and min give each side half where both are equal.
 */
import {
  apply,
  type BinaryFunction,
  isUnary,
  literal,
  type ScalarExpr,
  type UnaryFunction,
} from "./scalar.ts";

const ZERO = literal(0);
const ONE = literal(1);
const HALF = literal(0.5);
const GELU_CUBIC = 0.044715;

function isLiteral(expr: ScalarExpr, value: number): boolean {
  return expr.kind === "literal" && expr.value === value;
}

function add(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  if (isLiteral(a, 0)) return b;
  return isLiteral(b, 0) ? a : apply("add", a, b);
}

function sub(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  return apply("sub", a, b);
}

/** A product with a literal 0 is 0: what a derivative leaves out never makes a NaN. */
function mul(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  if (isLiteral(a, 0) || isLiteral(b, 0)) return ZERO;
  if (isLiteral(a, 1)) return b;
  if (isLiteral(b, 1)) return a;
  if (isLiteral(a, -1)) return apply("neg", b);
  return isLiteral(b, -1) ? apply("neg", a) : apply("mul", a, b);
}

const square = (x: ScalarExpr) => mul(x, x);

/** d fn(x) / dx. */
const unaryDerivatives: { readonly [F in UnaryFunction]: (x: ScalarExpr) => ScalarExpr } = {
  neg: () => literal(-1),
  abs: (x) => apply("sign", x),
  sign: () => ZERO,
  exp: (x) => apply("exp", x),
  log: (x) => apply("reciprocal", x),
  sqrt: (x) => mul(HALF, apply("rsqrt", x)),
  rsqrt: (x) => mul(literal(-0.5), apply("div", apply("rsqrt", x), x)),
  reciprocal: (x) => apply("neg", square(apply("reciprocal", x))),
  tanh: (x) => sub(ONE, square(apply("tanh", x))),
  // sigmoid(-x) is 1 - sigmoid(x) without what that difference loses for large x.
  sigmoid: (x) => mul(apply("sigmoid", x), apply("sigmoid", apply("neg", x))),
  erf: (x) => mul(literal(2 / Math.sqrt(Math.PI)), apply("exp", apply("neg", square(x)))),
  relu: (x) => apply("relu", apply("sign", x)),
  relu2: (x) => mul(literal(2), apply("relu", x)),
  silu(x) {
    const s = apply("sigmoid", x);
    return mul(s, add(ONE, mul(x, sub(ONE, s))));
  },
  /** Phi(x) + x phi(x). */
  gelu(x) {
    const cumulative = mul(HALF, add(ONE, apply("erf", mul(x, literal(Math.SQRT1_2)))));
    const density = mul(literal(1 / Math.sqrt(2 * Math.PI)), apply("exp", mul(literal(-0.5), square(x))));
    return add(cumulative, mul(x, density));
  },
  gelu_tanh(x) {
    const factor = literal(Math.sqrt(2 / Math.PI));
    const t = apply("tanh", mul(factor, add(x, mul(literal(GELU_CUBIC), mul(square(x), x)))));
    const inner = mul(factor, add(ONE, mul(literal(3 * GELU_CUBIC), square(x))));
    return add(mul(HALF, add(ONE, t)), mul(mul(HALF, x), mul(sub(ONE, square(t)), inner)));
  },
  to_f32: () => ONE,
};

/** 1 where a is above b, 1/2 where they are equal, 0 below. */
function above(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  return mul(HALF, add(ONE, apply("sign", sub(a, b))));
}

/** d fn(a, b) / da and / db. */
const binaryDerivatives: {
  readonly [F in BinaryFunction]: (a: ScalarExpr, b: ScalarExpr) => readonly [ScalarExpr, ScalarExpr];
} = {
  add: () => [ONE, ONE],
  sub: () => [ONE, literal(-1)],
  mul: (a, b) => [b, a],
  div: (a, b) => [apply("reciprocal", b), apply("neg", apply("div", apply("div", a, b), b))],
  max: (a, b) => [above(a, b), above(b, a)],
  min: (a, b) => [above(b, a), above(a, b)],
};

/** The derivative of an expression by argument `index`; the literal 0 where it does not depend on it. */
export function derivative(expr: ScalarExpr, index: number): ScalarExpr {
  if (expr.kind === "arg") return expr.index === index ? ONE : ZERO;
  if (expr.kind !== "apply") return ZERO;
  const inner = expr.args.map((part) => derivative(part, index));
  const [a, b] = expr.args as [ScalarExpr, ScalarExpr];
  const [da, db] = inner as [ScalarExpr, ScalarExpr];
  if (isUnary(expr.fn)) return isLiteral(da, 0) ? ZERO : mul(unaryDerivatives[expr.fn](a), da);
  const [left, right] = binaryDerivatives[expr.fn](a, b);
  return add(mul(left, da), mul(right, db));
}

/** Gradient times derivative, as an expression over the arguments and `gradient`. */
export function chained(expr: ScalarExpr, index: number, gradient: ScalarExpr): ScalarExpr {
  return mul(gradient, derivative(expr, index));
}
