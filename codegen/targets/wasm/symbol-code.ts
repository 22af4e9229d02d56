import { BitloomError } from "../../../errors/index.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import type { SExpression } from "./s-expression.ts";

/** The driver's local that holds a symbol; the dot keeps a user's names apart from the driver's own. */
export function symbolLocal(symbol: string): string {
  return `$symbol.${symbol}`;
}

/**
 * A symbol expression as i32 code over the symbols' locals; literal parts fold.
 * @throws INVALID_GRAPH for a symbol outside `symbols`
 */
export function symbolCode(expression: SymbolExpr, symbols: readonly string[]): SExpression {
  const folded = fold(expression);
  if (typeof folded === "number") return ["i32.const", String(folded | 0)];
  if (typeof folded === "string") {
    if (symbols.includes(folded)) return ["local.get", symbolLocal(folded)];
    throw new BitloomError("INVALID_GRAPH", "a step depends on an unknown symbol", {
      expected: symbols.join(", "),
      received: folded,
    });
  }
  const [operator, left, right] = folded;
  const a = symbolCode(left, symbols);
  const b = symbolCode(right, symbols);
  switch (operator) {
    case "add":
    case "mul":
      return [`i32.${operator}`, a, b];
    case "max":
      return ["select", a, b, ["i32.ge_s", a, b]];
    case "min":
      return ["select", a, b, ["i32.le_s", a, b]];
    case "ceildiv":
      return ["i32.div_s", symbolCode(["add", left, ["add", right, -1]], symbols), b];
  }
}

function fold(expression: SymbolExpr): SymbolExpr {
  if (typeof expression !== "object") return expression;
  const [operator, left, right] = expression;
  const a = fold(left);
  const b = fold(right);
  if (typeof a !== "number" || typeof b !== "number") {
    if (operator === "add" && a === 0) return b;
    if ((operator === "add" && b === 0) || ((operator === "mul" || operator === "ceildiv") && b === 1))
      return a;
    if (operator === "mul" && a === 1) return b;
    return [operator, a, b];
  }
  switch (operator) {
    case "add":
      return a + b;
    case "mul":
      return a * b;
    case "max":
      return Math.max(a, b);
    case "min":
      return Math.min(a, b);
    case "ceildiv":
      return Math.ceil(a / b);
  }
}
