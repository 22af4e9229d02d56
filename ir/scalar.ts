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
  | "sign"
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

export interface UnaryDefinition {
  /** The formula in words of f32 arithmetic; each operation rounds to nearest even. */
  readonly formula: string;
  readonly evaluate: (x: number) => number;
}

export interface BinaryDefinition {
  readonly formula: string;
  readonly evaluate: (a: number, b: number) => number;
  /** The same function on i32, wrapping; absent where the op takes f32 only. */
  readonly integer?: (a: number, b: number) => number;
}

const f = Math.fround;
const SQRT_HALF = f(Math.SQRT1_2);
const SQRT_TWO_OVER_PI = f(Math.sqrt(2 / Math.PI));
const GELU_CUBIC = f(0.044715);

/**
 * The error function to double precision: 2/sqrt(pi) e^(-x^2) sum (2x^2)^n x / (1*3*5*...*(2n+1))
 * (DLMF 7.6.2). All terms share a sign, so nothing cancels; beyond |x| = 6 it is 1 to the last bit of f64.
 */
function erf64(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

function exp(x: number): number {
  return f(Math.exp(x));
}

function erf(x: number): number {
  return f(erf64(x));
}

/** In f64: in f32 e^-x overflows below -88, where 1 / (1 + e^-x) and x / (1 + e^-x) are not yet 0. */
function logistic(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function cube(x: number): number {
  return f(f(x * x) * x);
}

/** The one-argument scalar functions. Each is also a graph op of the same name. */
export const unaryFunctions: { readonly [F in UnaryFunction]: UnaryDefinition } = {
  neg: { formula: "-x", evaluate: (x) => -x },
  abs: { formula: "|x|", evaluate: (x) => Math.abs(x) },
  sign: { formula: "-1, 0 or 1: whether x is below, at or above 0", evaluate: Math.sign },
  exp: { formula: "e^x", evaluate: exp },
  log: { formula: "ln x", evaluate: (x) => f(Math.log(x)) },
  sqrt: { formula: "sqrt(x)", evaluate: (x) => f(Math.sqrt(x)) },
  rsqrt: { formula: "1 / sqrt(x)", evaluate: (x) => f(1 / f(Math.sqrt(x))) },
  reciprocal: { formula: "1 / x", evaluate: (x) => f(1 / x) },
  tanh: { formula: "tanh x", evaluate: (x) => f(Math.tanh(x)) },
  sigmoid: { formula: "1 / (1 + e^-x), rounded once", evaluate: (x) => f(logistic(x)) },
  erf: { formula: "2/sqrt(pi) * integral of e^(-t^2) over 0..x", evaluate: erf },
  relu: { formula: "max(x, 0)", evaluate: (x) => Math.max(x, 0) },
  relu2: { formula: "max(x, 0)^2", evaluate: (x) => f(Math.max(x, 0) * Math.max(x, 0)) },
  silu: { formula: "x / (1 + e^-x), rounded once", evaluate: (x) => f(x * logistic(x)) },
  gelu: {
    formula: "(0.5 * x) * (1 + erf(x * sqrt(1/2)))",
    evaluate: (x) => f(f(0.5 * x) * f(1 + erf(f(x * SQRT_HALF)))),
  },
  gelu_tanh: {
    formula: "(0.5 * x) * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * ((x * x) * x))))",
    evaluate: (x) =>
      f(f(0.5 * x) * f(1 + f(Math.tanh(f(SQRT_TWO_OVER_PI * f(x + f(GELU_CUBIC * cube(x)))))))),
  },
  to_f32: { formula: "the f32 nearest to x", evaluate: f },
};

/** The two-argument scalar functions. Each is also a graph op of the same name, with numpy broadcasting. */
export const binaryFunctions: { readonly [F in BinaryFunction]: BinaryDefinition } = {
  add: { formula: "a + b", evaluate: (a, b) => f(a + b), integer: (a, b) => (a + b) | 0 },
  sub: { formula: "a - b", evaluate: (a, b) => f(a - b), integer: (a, b) => (a - b) | 0 },
  mul: { formula: "a * b", evaluate: (a, b) => f(a * b), integer: Math.imul },
  div: { formula: "a / b", evaluate: (a, b) => f(a / b) },
  max: { formula: "the larger, NaN if either is", evaluate: Math.max, integer: Math.max },
  min: { formula: "the smaller, NaN if either is", evaluate: Math.min, integer: Math.min },
};

export function isUnary(fn: string): fn is UnaryFunction {
  return Object.hasOwn(unaryFunctions, fn);
}

export function isBinary(fn: string): fn is BinaryFunction {
  return Object.hasOwn(binaryFunctions, fn);
}

export const acc: ScalarExpr = { kind: "acc" };

export function arg(index: number): ScalarExpr {
  return { kind: "arg", index };
}

export function literal(value: number): ScalarExpr {
  return { kind: "literal", value };
}

/** `apply("add", a, b)`; the number of arguments is the function's own. */
export function apply(fn: UnaryFunction, x: ScalarExpr): ScalarExpr;
export function apply(fn: BinaryFunction, a: ScalarExpr, b: ScalarExpr): ScalarExpr;
export function apply(fn: ScalarFunction, ...args: ScalarExpr[]): ScalarExpr;
export function apply(fn: ScalarFunction, ...args: ScalarExpr[]): ScalarExpr {
  return { kind: "apply", fn, args };
}

/** Deeper expressions are refused: they would overflow the stack of a recursive reader. */
export const MAX_SCALAR_DEPTH = 500;

/** Whether a value is a well-formed expression: known functions, right argument counts, bounded depth. */
export function isScalarExpr(value: unknown, depth = 0): value is ScalarExpr {
  if (typeof value !== "object" || value === null || depth > MAX_SCALAR_DEPTH) return false;
  const expr = value as Partial<Record<string, unknown>>;
  switch (expr.kind) {
    case "acc":
      return true;
    case "arg":
      return Number.isInteger(expr.index) && (expr.index as number) >= 0;
    case "literal":
      return typeof expr.value === "number";
    case "apply": {
      if (typeof expr.fn !== "string" || !Array.isArray(expr.args)) return false;
      const arity = isUnary(expr.fn) ? 1 : isBinary(expr.fn) ? 2 : -1;
      return expr.args.length === arity && expr.args.every((inner) => isScalarExpr(inner, depth + 1));
    }
    default:
      return false;
  }
}

/** The expression with `acc` and arguments replaced; `undefined` keeps a leaf as it is. */
export function substitute(
  expr: ScalarExpr,
  replace: (leaf: Extract<ScalarExpr, { kind: "acc" | "arg" }>) => ScalarExpr | undefined,
): ScalarExpr {
  switch (expr.kind) {
    case "literal":
      return expr;
    case "apply":
      return { ...expr, args: expr.args.map((inner) => substitute(inner, replace)) };
    default:
      return replace(expr) ?? expr;
  }
}

/** The expression with argument i renumbered `map(i)`. */
export function mapArguments(expr: ScalarExpr, map: (index: number) => number): ScalarExpr {
  return substitute(expr, (leaf) => (leaf.kind === "arg" ? arg(map(leaf.index)) : undefined));
}

/** The indices of the arguments it reads, ascending, each once. */
export function argumentsOf(expr: ScalarExpr): readonly number[] {
  const found = new Set<number>();
  visit(expr, (inner) => {
    if (inner.kind === "arg") found.add(inner.index);
  });
  return [...found].sort((a, b) => a - b);
}

/** The functions it applies. */
export function functionsOf(expr: ScalarExpr): ReadonlySet<ScalarFunction> {
  const found = new Set<ScalarFunction>();
  visit(expr, (inner) => {
    if (inner.kind === "apply") found.add(inner.fn);
  });
  return found;
}

export function usesAcc(expr: ScalarExpr): boolean {
  let found = false;
  visit(expr, (inner) => {
    if (inner.kind === "acc") found = true;
  });
  return found;
}

/** How many functions it applies. */
export function scalarSize(expr: ScalarExpr): number {
  let size = 0;
  visit(expr, (inner) => {
    if (inner.kind === "apply") size++;
  });
  return size;
}

function visit(expr: ScalarExpr, see: (inner: ScalarExpr) => void): void {
  see(expr);
  if (expr.kind === "apply") for (const inner of expr.args) visit(inner, see);
}

/** The dtype of an expression over these leaves, or why it has none. Only `to_f32` reads an i32. */
export function scalarType(
  expr: ScalarExpr,
  leaves: { readonly acc?: "i32" | "f32"; readonly args: readonly string[] },
): { readonly dtype: "i32" | "f32" } | { readonly problem: string } {
  switch (expr.kind) {
    case "literal":
      return { dtype: "f32" };
    case "acc":
      return leaves.acc ? { dtype: leaves.acc } : { problem: "`acc` where there is no accumulator" };
    case "arg": {
      const dtype = leaves.args[expr.index];
      if (dtype === undefined)
        return { problem: `x${expr.index}, but there are ${leaves.args.length} arguments` };
      return dtype === "i32" || dtype === "f32" ? { dtype } : { problem: `x${expr.index} of dtype ${dtype}` };
    }
    case "apply": {
      for (const inner of expr.args) {
        const type = scalarType(inner, leaves);
        if ("problem" in type) return type;
        if (type.dtype !== "f32" && expr.fn !== "to_f32")
          return { problem: `${expr.fn} of an i32 without to_f32` };
      }
      return { dtype: "f32" };
    }
  }
}

/** The value of one element; every step rounds to f32. */
export function evaluateScalar(expr: ScalarExpr, accumulator: number, args: ArrayLike<number>): number {
  switch (expr.kind) {
    case "acc":
      return accumulator;
    case "arg":
      return args[expr.index]!;
    case "literal":
      return f(expr.value);
    case "apply": {
      const [first, second] = expr.args;
      const a = evaluateScalar(first!, accumulator, args);
      if (second === undefined) return unaryFunctions[expr.fn as UnaryFunction].evaluate(a);
      return binaryFunctions[expr.fn as BinaryFunction].evaluate(
        a,
        evaluateScalar(second, accumulator, args),
      );
    }
  }
}

/** A number as the text form writes it: shortest digits that read back the same; `nan`, `inf`, `-inf`, `-0`. */
export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (Object.is(value, -0)) return "-0";
  if (value === Infinity) return "inf";
  return value === -Infinity ? "-inf" : String(value);
}

/** `add(mul(acc, x0), 1.5)` */
export function formatScalar(expr: ScalarExpr): string {
  switch (expr.kind) {
    case "acc":
      return "acc";
    case "arg":
      return `x${expr.index}`;
    case "literal":
      return formatNumber(expr.value);
    case "apply":
      return `${expr.fn}(${expr.args.map(formatScalar).join(", ")})`;
  }
}
