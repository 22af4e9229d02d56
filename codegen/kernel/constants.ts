/** Arithmetic on compile-time constants: that of JavaScript, so a template computes what it says. */
import type { ts } from "ts-morph";
import type { Constant } from "./bindings.ts";
import { syntaxError, typeError } from "./source-error.ts";

const mathFunctions: Record<string, (...values: number[]) => number> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  fround: Math.fround,
  log2: Math.log2,
  max: Math.max,
  min: Math.min,
  pow: Math.pow,
  sqrt: Math.sqrt,
  trunc: Math.trunc,
};

/** `Math.floor(options.k / 4)`. */
export function constantMath(node: ts.Node, name: string, values: readonly Constant[]): number {
  const fn = mathFunctions[name];
  if (fn === undefined || !values.every((value) => typeof value === "number")) {
    throw typeError(node, `Math.${name} works on compile-time constants only`, {
      hint: "On run-time values use math.* of bitloom/kernel.",
    });
  }
  return fn(...(values as number[]));
}

/** `a operator b` for two constants; `operator` as written in the source. */
export function constantBinary(node: ts.Node, operator: string, a: Constant, b: Constant): Constant {
  if (operator === "===") return a === b;
  if (operator === "!==") return a !== b;
  if (typeof a !== "number" || typeof b !== "number") {
    throw typeError(node, `${operator} takes two numbers`, { received: `${typeof a} and ${typeof b}` });
  }
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    case "%":
      return a % b;
    case "**":
      return a ** b;
    case "&":
      return a & b;
    case "|":
      return a | b;
    case "^":
      return a ^ b;
    case "<<":
      return a << b;
    case ">>":
      return a >> b;
    case ">>>":
      return a >>> b;
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
    default:
      throw syntaxError(node, `${operator} is not part of the kernel language`);
  }
}
