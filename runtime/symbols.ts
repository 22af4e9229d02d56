import type { Step, SymbolExpr } from "./manifest.ts";

/** Values of an entry's symbols, by name. */
export type SymbolValues = ReadonlyMap<string, number>;

/**
 * The value of a symbol expression. Counts stay below 2^53, so that f64 arithmetic is exact.
 * @throws RangeError naming a symbol that has no value.
 */
export function evaluate(expr: SymbolExpr, symbols: SymbolValues): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") {
    const value = symbols.get(expr);
    if (value === undefined) throw new RangeError(`symbol "${expr}" has no value`);
    return value;
  }
  const [operator, left, right] = expr;
  const a = evaluate(left, symbols);
  const b = evaluate(right, symbols);
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

/** Whether a step with this guard runs. @throws RangeError as `evaluate` */
export function holds(guard: Step["guard"], symbols: SymbolValues): boolean {
  if (guard === undefined) return true;
  const value = evaluate(guard.value, symbols);
  return guard.lower <= value && value <= guard.upper;
}
