import {
  apply,
  literal as constant,
  formatScalar,
  type ScalarExpr,
  type ScalarFunction,
} from "../../ir/scalar.ts";
import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";

/** Functions that a target computes with a helper function. */
export const mathFunctions = ["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"] as const;
export type MathFunction = (typeof mathFunctions)[number];

/** One element, or four f32 or i32 lanes. */
export type Width = "scalar" | "vector";

/** Helpers a target computes math functions with: f32 -> f32, or v128 of four f32 -> the same. */
export type MathHelpers = Readonly<Record<Width, Readonly<Record<MathFunction, KernelFunction>>>>;

/** Functions that are one instruction on every target. */
type Instruction = "neg" | "abs" | "sqrt" | "add" | "sub" | "mul" | "div" | "max" | "min";
type Apply = Extract<ScalarExpr, { kind: "apply" }>;
type Leaf = Extract<ScalarExpr, { kind: "acc" | "arg" }>;

export interface ScalarCode {
  readonly body: readonly Stmt[];
  readonly result: Expr;
  readonly helpers: readonly KernelFunction[];
}

/** The functions that are a few instructions, in the order of `ir/scalar.ts`. */
function formula(fn: ScalarFunction, x: ScalarExpr): ScalarExpr | undefined {
  switch (fn) {
    case "rsqrt":
      return apply("div", constant(1), apply("sqrt", x));
    case "reciprocal":
      return apply("div", constant(1), x);
    case "relu":
      return apply("max", x, constant(0));
    case "relu2":
      return apply("mul", apply("relu", x), apply("relu", x));
    default:
      return undefined;
  }
}

function isMath(fn: ScalarFunction): fn is MathFunction {
  return (mathFunctions as readonly string[]).includes(fn);
}

/**
 * Kernel code for a scalar expression. `leaf` gives the code of `acc` and the arguments, in f32, i32 or four
 * lanes of them; `integer` says which leaves hold i32. Equal subexpressions are computed once. Locals are
 * named `<prefix>0`, `<prefix>1`, ….
 */
export function scalarCode(
  expr: ScalarExpr,
  options: {
    readonly width: Width;
    readonly prefix: string;
    readonly math: MathHelpers;
    readonly leaf: (leaf: Leaf) => Expr;
    readonly integer: (leaf: Leaf) => boolean;
  },
): ScalarCode {
  const body: Stmt[] = [];
  const helpers = new Map<string, KernelFunction>();
  const known = new Map<string, Expr>();
  const { width } = options;

  const visit = (e: ScalarExpr): Expr => {
    if (e.kind === "literal") {
      return width === "scalar" ? b.f32(e.value) : b.intrinsic("f32x4.splat", [b.f32(e.value)]);
    }
    const key = formatScalar(e);
    const found = known.get(key);
    if (found !== undefined) return found;
    const named = nameIt(e.kind === "apply" ? applied(e) : options.leaf(e));
    known.set(key, named);
    return named;
  };
  const nameIt = (value: Expr): Expr => {
    if (value.kind === "ref" || value.kind === "literal" || value.type === "void") return value;
    const name = `${options.prefix}${body.length}`;
    body.push(b.let_(name, value));
    return b.local(name, value.type);
  };
  const applied = ({ fn, args }: Apply): Expr => {
    const [x] = args as [ScalarExpr];
    const written = formula(fn, x);
    if (written !== undefined) return visit(written);
    if (fn === "to_f32") return converted(x);
    if (isMath(fn)) {
      const helper = options.math[width][fn];
      for (const inner of [...helper.helpers, helper]) helpers.set(inner.name, inner);
      return b.call(helper, [visit(x)]);
    }
    return instruction(fn as Instruction, args.map(visit), width);
  };
  const converted = (x: ScalarExpr): Expr => {
    const value = visit(x);
    const integer = (x.kind === "acc" || x.kind === "arg") && options.integer(x);
    if (!integer) return value;
    return width === "scalar" ? b.convert("f32", value) : b.intrinsic("f32x4.convertI32x4S", [value]);
  };
  const result = visit(expr);
  return { body, result, helpers: [...helpers.values()] };
}

function instruction(fn: Instruction, args: readonly Expr[], width: Width): Expr {
  if (width === "vector") return b.intrinsic(`f32x4.${fn}`, args);
  const [x, y] = args as [Expr, Expr];
  switch (fn) {
    case "neg":
      return b.neg(x);
    case "abs":
    case "sqrt":
    case "max":
    case "min":
      return b.intrinsic(`math.${fn}`, args);
    default:
      return b.binary(fn, x, y);
  }
}

/** Two-operand functions on i32, wrapping; four lanes with `vector`. */
export function integerCode(fn: "add" | "sub" | "mul" | "max" | "min", x: Expr, y: Expr, width: Width): Expr {
  if (width === "vector") {
    return b.intrinsic(`i32x4.${fn === "max" || fn === "min" ? `${fn}S` : fn}`, [x, y]);
  }
  if (fn === "max") return b.select(b.gt(x, y), x, y);
  if (fn === "min") return b.select(b.lt(x, y), x, y);
  return b.binary(fn, x, y);
}

/** Names of the functions an expression applies, innermost first, repeats of one name once; at most five. */
export function functionNames(expr: ScalarExpr): readonly (ScalarFunction | "more")[] {
  const names: (ScalarFunction | "more")[] = [];
  const visit = (e: ScalarExpr): void => {
    if (e.kind !== "apply") return;
    for (const inner of e.args) visit(inner);
    if (e.fn !== "to_f32" && names.at(-1) !== e.fn) names.push(e.fn);
  };
  visit(expr);
  if (names.length === 0 && expr.kind === "apply") return [expr.fn];
  return names.length <= 5 ? names : [...names.slice(0, 5), "more"];
}
