import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import {
  acc,
  apply,
  arg,
  argumentsOf,
  binaryFunctions,
  evaluateScalar,
  formatScalar,
  isScalarExpr,
  literal,
  MAX_SCALAR_DEPTH,
  mapArguments,
  type ScalarExpr,
  scalarSize,
  scalarType,
  substitute,
  type UnaryFunction,
  unaryFunctions,
  usesAcc,
} from "./scalar.ts";
import { parseScalar } from "./text/parse.ts";

const f = Math.fround;
const expr = parseScalar("add(mul(to_f32(acc), x2), max(x0, 0.5))");

const expressions: fc.Arbitrary<ScalarExpr> = fc.letrec<{ expr: ScalarExpr }>((tie) => ({
  expr: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.constant(acc),
    fc.nat({ max: 12 }).map(arg),
    fc.double().map(literal),
    fc
      .tuple(fc.constantFrom(...(Object.keys(unaryFunctions) as UnaryFunction[])), tie("expr"))
      .map(([fn, x]) => apply(fn, x)),
    fc
      .tuple(fc.constantFrom("add", "sub", "mul", "div", "max", "min"), tie("expr"), tie("expr"))
      .map(([fn, a, b]) => apply(fn, a, b)),
  ),
})).expr;

describe("functions", () => {
  // Expected values are Python's, in double precision.
  test.each<[UnaryFunction, number, number]>([
    ["erf", 0.5, 0.5204998778130465],
    ["erf", -2, -0.9953222650189527],
    ["erf", 1e-8, 1.1283791670955126e-8],
    ["erf", 7, 1],
    ["tanh", 0.5, 0.46211715726],
    ["sigmoid", 1, 0.7310585786300049],
    ["sigmoid", -110, 0],
    ["sigmoid", -89, 2.2273635617957438e-39],
    ["silu", -89, -1.98235357e-37],
    ["silu", -1, -0.2689414213699951],
    ["silu", 2, 1.7615941559557649],
    ["gelu", 1, 0.8413447460685429],
    ["gelu", -0.75, -0.16997051428265098],
    ["gelu_tanh", 1, 0.8411919906082768],
    ["gelu_tanh", -1, -0.15880800939172324],
    ["exp", 1, Math.E],
    ["log", 10, Math.LN10],
    ["rsqrt", 2, Math.SQRT1_2],
    ["reciprocal", 3, 1 / 3],
    ["relu", -3, 0],
    ["relu2", 3, 9],
    ["relu2", -3, 0],
    ["abs", -3, 3],
    ["neg", 3, -3],
    ["sqrt", 2, Math.SQRT2],
    ["to_f32", 16_777_217, 16_777_216],
  ])("%s(%d)", (fn, x, expected) => {
    const value = unaryFunctions[fn].evaluate(x);
    expect(value).toBe(f(value));
    expect(Math.abs(value - expected)).toBeLessThanOrEqual(Math.abs(expected) * 4e-7);
  });

  test.prop([fc.float({ noNaN: true })])("every result is an f32, NaN stays NaN", (x) => {
    for (const { evaluate } of Object.values(unaryFunctions)) {
      expect(evaluate(x)).toBe(f(evaluate(x)));
      expect(evaluate(Number.NaN)).toBeNaN();
    }
    for (const { evaluate } of Object.values(binaryFunctions)) {
      expect(evaluate(x, 3)).toBe(f(evaluate(x, 3)));
      expect(evaluate(x, Number.NaN)).toBeNaN();
      expect(evaluate(Number.NaN, x)).toBeNaN();
    }
  });

  test.prop([fc.float({ noNaN: true, min: -8, max: 8 })])("erf is odd, and monotone nearby", (x) => {
    const { evaluate } = unaryFunctions.erf;
    expect(evaluate(-x) + evaluate(x)).toBe(0);
    expect(evaluate(f(x + 0.01))).toBeGreaterThanOrEqual(evaluate(x));
  });
});

describe("expressions", () => {
  test("evaluate rounds every step", () => {
    expect(evaluateScalar(expr, 7, [0.1, 99, 0.3])).toBe(f(f(7 * 0.3) + 0.5));
    // In f64 the large terms would cancel to 1.
    const cancel = parseScalar("sub(add(x0, 1), x0)");
    expect(evaluateScalar(cancel, Number.NaN, [2 ** 24])).toBe(0);
    expect(evaluateScalar(literal(0.1), 0, [])).toBe(f(0.1));
  });

  test("the arguments they read", () => {
    expect(argumentsOf(expr)).toEqual([0, 2]);
    expect(argumentsOf(literal(1))).toEqual([]);
    expect(usesAcc(expr)).toBe(true);
    expect(usesAcc(arg(0))).toBe(false);
    expect(scalarSize(expr)).toBe(4);
  });

  test("substitution and renumbering", () => {
    expect(formatScalar(mapArguments(expr, (index) => index + 1))).toBe(
      "add(mul(to_f32(acc), x3), max(x1, 0.5))",
    );
    const inlined = substitute(expr, (leaf) => (leaf.kind === "acc" ? arg(9) : undefined));
    expect(formatScalar(inlined)).toBe("add(mul(to_f32(x9), x2), max(x0, 0.5))");
  });

  test("types: only to_f32 reads an i32", () => {
    expect(scalarType(expr, { acc: "i32", args: ["f32", "f32", "f32"] })).toEqual({ dtype: "f32" });
    expect(scalarType(expr, { acc: "i32", args: ["i32", "f32", "f32"] })).toEqual({
      problem: "max of an i32 without to_f32",
    });
    expect(scalarType(expr, { args: ["f32", "f32", "f32"] })).toHaveProperty("problem");
    expect(scalarType(expr, { acc: "f32", args: ["f32"] })).toHaveProperty("problem");
    expect(scalarType(arg(0), { args: ["i32"] })).toEqual({ dtype: "i32" });
  });

  test.prop([expressions])("print and parse are inverse", (expression) => {
    expect(isScalarExpr(expression)).toBe(true);
    expect(parseScalar(formatScalar(expression))).toEqual(expression);
  });

  test.prop([fc.anything()])("isScalarExpr never throws", (value) => {
    expect(typeof isScalarExpr(value)).toBe("boolean");
  });

  test("malformed expressions are not expressions", () => {
    let deep: ScalarExpr = acc;
    for (let i = 0; i <= MAX_SCALAR_DEPTH; i++) deep = apply("neg", deep);
    const bad = [
      null,
      {},
      { kind: "arg", index: -1 },
      { kind: "literal", value: "1" },
      { kind: "apply", fn: "add", args: [acc] },
      { kind: "apply", fn: "toString", args: [acc] },
      { kind: "apply", fn: "neg", args: [{ kind: "nothing" }] },
      deep,
    ];
    for (const value of bad) expect(isScalarExpr(value)).toBe(false);
  });
});
