import * as b from "../kernel/build.ts";
import type { BufferParameter, Expr, KernelFunction, Stmt, ValueType } from "../kernel/ir.ts";

/** Functions that a target computes with a helper function. */
export const mathFunctions = ["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"] as const;
export type MathFunction = (typeof mathFunctions)[number];
export type MathHelpers = Readonly<Record<MathFunction, KernelFunction>>;

/** Functions on f32 that are one instruction on every target. */
export type Instruction = "neg" | "abs" | "sqrt" | "add" | "sub" | "mul" | "div" | "max" | "min";
/** Functions on i32, wrapping. */
export type IntegerInstruction = "add" | "sub" | "mul" | "max" | "min";

/** How code computes one element, or several neighbours at once. */
export interface Lanes {
  /** Elements that a value holds. */
  readonly count: number;
  /** The type of a value of f32 or of i32. */
  type(element: "f32" | "i32"): ValueType;
  /** The same f32 in every lane. */
  splat(value: Expr): Expr;
  /** Elements from `index` on, or the one there in every lane. */
  load(from: BufferParameter, index: Expr, repeats: boolean): Expr;
  store(to: BufferParameter, index: Expr, value: Expr): Stmt;
  apply(fn: Instruction, args: readonly Expr[]): Expr;
  applyToIntegers(fn: IntegerInstruction, x: Expr, y: Expr): Expr;
  /** i32 to the nearest f32. */
  toF32(value: Expr): Expr;
  /** f32 to i32, truncating and saturating; NaN gives 0. */
  toI32(value: Expr): Expr;
  /** One lane of an f32 value. */
  lane(value: Expr, lane: number): Expr;
  /** Functions of a value that give the same type. */
  readonly math: MathHelpers;
}

/** What generated code is made of on a target. */
export interface TargetCode {
  readonly one: Lanes;
  /** Absent where each invocation computes one element. */
  readonly many?: Lanes;
}

/** One element at a time, the same on every target but for the math functions. */
export function scalarLanes(math: MathHelpers): Lanes {
  return {
    count: 1,
    math,
    type: (element) => element,
    splat: (value) => value,
    load: b.load,
    store: b.store,
    toF32: (value) => b.convert("f32", value),
    toI32: (value) => b.convert("i32", value),
    lane: (value) => value,
    apply(fn, args) {
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
    },
    applyToIntegers(fn, x, y) {
      if (fn === "max") return b.select(b.gt(x, y), x, y);
      if (fn === "min") return b.select(b.lt(x, y), x, y);
      return b.binary(fn, x, y);
    },
  };
}
