import {
  apply,
  literal as constant,
  formatScalar,
  type ScalarExpr,
  type ScalarFunction,
} from "../../ir/scalar.ts";
import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { type Instruction, type Lanes, type MathFunction, mathFunctions } from "./lanes.ts";

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
    case "sign": {
      // Twice 2^127 takes even the least denormal beyond 1.
      const large = constant(2 ** 127);
      const magnified = apply("mul", apply("mul", x, large), large);
      return apply("max", apply("min", magnified, constant(1)), constant(-1));
    }
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
 * Kernel code for a scalar expression. `leaf` gives the code of `acc` and the arguments, values of f32 or i32; `integer` says which leaves hold i32. Equal subexpressions are computed once. Locals are
 * named `<prefix>0`, `<prefix>1`, ….
 */
export function scalarCode(
  expr: ScalarExpr,
  options: {
    readonly lanes: Lanes;
    readonly prefix: string;
    readonly leaf: (leaf: Leaf) => Expr;
    readonly integer: (leaf: Leaf) => boolean;
  },
): ScalarCode {
  const body: Stmt[] = [];
  const helpers = new Map<string, KernelFunction>();
  const known = new Map<string, Expr>();
  const { lanes } = options;

  const visit = (e: ScalarExpr): Expr => {
    if (e.kind === "literal") return lanes.splat(b.f32(e.value));
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
      const helper = lanes.math[fn];
      for (const inner of [...helper.helpers, helper]) helpers.set(inner.name, inner);
      return b.call(helper, [visit(x)]);
    }
    return lanes.apply(fn as Instruction, args.map(visit));
  };
  const converted = (x: ScalarExpr): Expr => {
    const value = visit(x);
    const integer = (x.kind === "acc" || x.kind === "arg") && options.integer(x);
    return integer ? lanes.toF32(value) : value;
  };
  const result = visit(expr);
  return { body, result, helpers: [...helpers.values()] };
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
