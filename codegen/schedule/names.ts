import type { ScalarExpr } from "../../ir/scalar.ts";
import type { OperandRole } from "./inline.ts";
import { functionNames } from "./scalar-code.ts";

/**
 * What an epilogue does, in words from the accumulator outwards: `scale`, `bias`, `residual`, `relu2`, … An
 * expression without one path from the accumulator is named by its functions.
 */
export function epilogueWords(expr: ScalarExpr, roles: readonly OperandRole[]): readonly string[] {
  const words: string[] = [];
  if (!follow(expr, roles, words)) return functionNames(expr);
  return words.filter((word, i) => word !== words[i - 1]).slice(0, 6);
}

function follow(expr: ScalarExpr, roles: readonly OperandRole[], words: string[]): boolean {
  if (expr.kind === "acc") return true;
  if (expr.kind !== "apply") return false;
  const path = expr.args.filter(readsAcc);
  if (path.length !== 1 || !follow(path[0]!, roles, words)) return false;
  if (expr.fn === "to_f32") return true;
  const other = expr.args.find((inner) => inner !== path[0]);
  const role = other?.kind === "arg" ? roles[other.index] : undefined;
  if (expr.fn === "mul" && other !== undefined) words.push(role === "full" ? "gate" : "scale");
  else if (expr.fn === "add" && role === "vector") words.push("bias");
  else if (expr.fn === "add" && role === "full") words.push("residual");
  else words.push(expr.fn);
  return true;
}

function readsAcc(expr: ScalarExpr): boolean {
  return expr.kind === "acc" || (expr.kind === "apply" && expr.args.some(readsAcc));
}
