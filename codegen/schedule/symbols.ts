import type { SymbolBound } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import { evaluate, holds } from "../../runtime/symbols.ts";

export { evaluate, holds };

/**
 * One product of a sum: `coefficient * factors[0] * factors[1] …`. A factor is a symbol or an expression
 * that is neither a sum nor a product (`max`, `min`, `ceildiv`).
 */
interface Term {
  readonly coefficient: number;
  readonly factors: readonly SymbolExpr[];
}

const text = (expr: SymbolExpr): string => (typeof expr === "string" ? expr : JSON.stringify(expr));

function termsOf(expr: SymbolExpr): readonly Term[] {
  if (typeof expr === "number") return expr === 0 ? [] : [{ coefficient: expr, factors: [] }];
  if (typeof expr === "string") return [{ coefficient: 1, factors: [expr] }];
  const [operator, left, right] = expr;
  if (operator === "add") return collect([...termsOf(left), ...termsOf(right)]);
  if (operator === "mul") {
    const rightTerms = termsOf(right);
    const products = termsOf(left).flatMap((a) =>
      rightTerms.map((b) => ({
        coefficient: a.coefficient * b.coefficient,
        factors: [...a.factors, ...b.factors],
      })),
    );
    return collect(products);
  }
  return [{ coefficient: 1, factors: [expr] }];
}

/** Sorts factors, adds up equal products and drops zeros: the normal form that makes equality textual. */
function collect(terms: readonly Term[]): readonly Term[] {
  const byFactors = new Map<string, Term>();
  for (const term of terms) {
    const factors =
      term.factors.length < 2 ? term.factors : [...term.factors].sort((a, b) => compare(text(a), text(b)));
    const key = keyOf(factors);
    const coefficient = term.coefficient + (byFactors.get(key)?.coefficient ?? 0);
    if (coefficient === 0) byFactors.delete(key);
    else byFactors.set(key, { coefficient, factors });
  }
  return [...byFactors.values()];
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const keyOf = (factors: readonly SymbolExpr[]): string => factors.map(text).join("*");

function fromTerms(terms: readonly Term[]): SymbolExpr {
  const ordered = [...terms].sort(
    (a, b) => b.factors.length - a.factors.length || compare(keyOf(a.factors), keyOf(b.factors)),
  );
  const products = ordered.map(({ coefficient, factors }): SymbolExpr => {
    if (factors.length === 0) return coefficient;
    const product = factors.reduce((left, factor) => ["mul", left, factor]);
    return coefficient === 1 ? product : ["mul", product, coefficient];
  });
  return products.length === 0 ? 0 : products.reduce((left, next) => ["add", left, next]);
}

/** a + b + …, in normal form. */
export function sum(...exprs: readonly SymbolExpr[]): SymbolExpr {
  if (exprs.every((e) => typeof e === "number")) return exprs.reduce<number>((a, b) => a + (b as number), 0);
  return fromTerms(collect(exprs.flatMap(termsOf)));
}

/** a * b * …, in normal form; `product()` is 1. */
export function product(...exprs: readonly SymbolExpr[]): SymbolExpr {
  let literal = 1;
  const rest: SymbolExpr[] = [];
  for (const expr of exprs) {
    if (typeof expr === "number") literal *= expr;
    else rest.push(expr);
  }
  if (rest.length === 0) return literal;
  if (rest.length === 1 && literal === 1) return rest[0]!;
  return fromTerms(termsOf(rest.reduce<SymbolExpr>((a, b) => ["mul", a, b], literal)));
}

/** ceil(a / divisor) for a positive integer divisor; whole multiples leave the division. */
export function ceilDiv(a: SymbolExpr, divisor: number): SymbolExpr {
  if (divisor === 1) return a;
  if (typeof a === "number") return Math.ceil(a / divisor);
  const whole: Term[] = [];
  const rest: Term[] = [];
  for (const term of termsOf(a)) {
    if (term.coefficient % divisor === 0) {
      whole.push({ coefficient: term.coefficient / divisor, factors: term.factors });
    } else rest.push(term);
  }
  if (rest.length === 0) return fromTerms(whole);
  const remainder = fromTerms(rest);
  if (typeof remainder === "number") return sum(fromTerms(whole), Math.ceil(remainder / divisor));
  return sum(fromTerms(whole), ["ceildiv", remainder, divisor]);
}

/** Whether two expressions in normal form are the same function of their symbols. */
export function sameExpr(a: SymbolExpr, b: SymbolExpr): boolean {
  return a === b || (typeof a === "object" && typeof b === "object" && text(a) === text(b));
}

/** Whether an expression is a multiple of `divisor` whatever its symbols' values. */
export function isMultiple(expr: SymbolExpr, divisor: number): boolean {
  return termsOf(expr).every(({ coefficient }) => coefficient % divisor === 0);
}

/** Product of dims: the number of elements of a tensor. */
export function elementCount(dims: readonly Dim[]): SymbolExpr {
  return product(...dims);
}

/**
 * The least number no binding within the bounds (1 <= symbol <= max) exceeds, taking each product at its
 * own worst case. Products of symbols grow with each of them, so positive terms peak at the maxima.
 */
export function upperBound(expr: SymbolExpr, bounds: ReadonlyMap<string, SymbolBound>): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") {
    const bound = bounds.get(expr);
    if (bound === undefined) throw new RangeError(`symbol ${expr} has no bound`);
    return bound.max;
  }
  if (expr[0] === "max") return Math.max(upperBound(expr[1], bounds), upperBound(expr[2], bounds));
  if (expr[0] === "min") return Math.min(upperBound(expr[1], bounds), upperBound(expr[2], bounds));
  if (expr[0] === "ceildiv") return Math.ceil(upperBound(expr[1], bounds) / lowerBound(expr[2]));
  let total = 0;
  for (const { coefficient, factors } of termsOf(expr)) {
    const worst = (f: SymbolExpr) => (coefficient > 0 ? upperBound(f, bounds) : lowerBound(f));
    total += factors.reduce<number>((value, factor) => value * worst(factor), coefficient);
  }
  return total;
}

/** The value with every symbol at its minimum, 1: all factors grow with their symbols. */
function lowerBound(expr: SymbolExpr): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") return 1;
  const [operator, left, right] = expr;
  return evaluate([operator, lowerBound(left), lowerBound(right)], new Map());
}

/** The symbols of an expression. */
export function symbolsOf(expr: SymbolExpr): readonly string[] {
  if (typeof expr === "number") return [];
  if (typeof expr === "string") return [expr];
  return [...new Set([...symbolsOf(expr[1]), ...symbolsOf(expr[2])])];
}

/** `batch * seq * 256`, for people. */
export function formatExpr(expr: SymbolExpr): string {
  if (typeof expr !== "object") return String(expr);
  const [operator, left, right] = expr;
  const [a, b] = [formatExpr(left), formatExpr(right)];
  if (operator === "add") return `${a} + ${b}`;
  if (operator === "mul") {
    const factor = (e: SymbolExpr, s: string) => (typeof e === "object" && e[0] === "add" ? `(${s})` : s);
    return `${factor(left, a)} * ${factor(right, b)}`;
  }
  return `${operator}(${a}, ${b})`;
}
