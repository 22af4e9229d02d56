import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import {
  ceilDiv,
  elementCount,
  evaluate,
  formatExpr,
  product,
  sameExpr,
  sum,
  upperBound,
} from "./symbols.ts";

const raw: fc.Arbitrary<SymbolExpr> = fc.letrec<{ expr: SymbolExpr }>((tie) => ({
  expr: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.integer({ min: 0, max: 9 }),
    fc.constantFrom("batch", "seq", "slots"),
    fc.tuple(fc.constantFrom("add" as const, "mul" as const, "max" as const), tie("expr"), tie("expr")),
    fc.tuple(fc.constant("ceildiv" as const), tie("expr"), fc.integer({ min: 1, max: 9 })),
  ),
})).expr;
const bounds = new Map([
  ["batch", { max: 4 }],
  ["seq", { max: 7 }],
  ["slots", { max: 3 }],
]);
const bindings = fc
  .record({
    batch: fc.integer({ min: 1, max: 4 }),
    seq: fc.integer({ min: 1, max: 7 }),
    slots: fc.integer({ min: 1, max: 3 }),
  })
  .map((values) => new Map(Object.entries(values)));

/** The normal form of an expression, built through the constructors. */
function normal(expr: SymbolExpr): SymbolExpr {
  if (typeof expr !== "object") return expr;
  const [operator, a, b] = expr;
  if (operator === "add") return sum(normal(a), normal(b));
  if (operator === "mul") return product(normal(a), normal(b));
  if (operator === "ceildiv") return ceilDiv(normal(a), b as number);
  return [operator, normal(a), normal(b)];
}

describe("symbol expressions", () => {
  test.prop([raw, bindings])("simplifying keeps the value", (expr, at) => {
    expect(evaluate(normal(expr), at)).toBe(evaluate(expr, at));
  });

  test.prop([raw, bindings])(
    "the upper bound is never exceeded, and is reached at the maxima",
    (expr, at) => {
      const simple = normal(expr);
      expect(evaluate(simple, at)).toBeLessThanOrEqual(upperBound(simple, bounds));
      const maxima = new Map([...bounds].map(([name, { max }]) => [name, max]));
      expect(upperBound(simple, bounds)).toBe(evaluate(simple, maxima));
    },
  );

  test.prop([raw, raw])("sums and products do not depend on order", (a, b) => {
    const [x, y] = [normal(a), normal(b)];
    expect(sameExpr(sum(x, y), sum(y, x))).toBe(true);
    expect(sameExpr(product(x, y), product(y, x))).toBe(true);
  });

  test("products of dims read as written", () => {
    expect(formatExpr(elementCount(["batch", "seq", 4, 64]))).toBe("batch * seq * 256");
    expect(elementCount([2, 3])).toBe(6);
    expect(elementCount([])).toBe(1);
  });

  test("whole multiples leave a division", () => {
    expect(ceilDiv(product("batch", 256), 64)).toEqual(["mul", "batch", 4]);
    expect(ceilDiv(sum(product("batch", 8), 3), 4)).toEqual(["add", ["mul", "batch", 2], 1]);
    expect(ceilDiv("seq", 4)).toEqual(["ceildiv", "seq", 4]);
  });

  test("differences cancel, and negative terms are bounded by the smallest symbols", () => {
    expect(sum(product("seq", 4), product("seq", -4))).toBe(0);
    expect(upperBound(sum(8, product("seq", -1)), bounds)).toBe(7);
  });
});
