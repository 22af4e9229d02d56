import { type BinaryFunction, formatScalar, type ScalarExpr } from "../../ir/scalar.ts";
import type { GeneratedCall, Place } from "./draft.ts";
import type { TargetCode } from "./lanes.ts";
import { pointwise } from "./pointwise.ts";
import { functionNames, scalarCode } from "./scalar-code.ts";

/** out = expr(x0, x1, …) in f32, operands f32 or i32 and broadcast to out's shape. */
export function elementwiseCall(
  expr: ScalarExpr,
  operands: readonly Place[],
  out: Place,
  target: TargetCode,
): GeneratedCall {
  return pointwise({
    template: "elementwise",
    name: ["elementwise", ...functionNames(expr)].join("_"),
    key: formatScalar(expr),
    operands,
    out,
    target,
    body: (values, lanes, prefix) => {
      const code = scalarCode(expr, {
        lanes,
        prefix,
        leaf: (leaf) => values[leaf.kind === "arg" ? leaf.index : 0]!,
        integer: (leaf) => leaf.kind === "arg" && operands[leaf.index]!.dtype === "i32",
      });
      return { statements: code.body, result: code.result, helpers: code.helpers };
    },
  });
}

/** out = fn(a, b) on i32, wrapping. */
export function integerCall(
  fn: Exclude<BinaryFunction, "div">,
  a: Place,
  b: Place,
  out: Place,
  target: TargetCode,
): GeneratedCall {
  return pointwise({
    template: "elementwise",
    name: `elementwise_${fn}_i32`,
    key: `${fn} on i32`,
    operands: [a, b],
    out,
    target,
    body: ([x, y], lanes) => ({
      statements: [],
      result: lanes.applyToIntegers(fn, x!, y!),
      helpers: [],
    }),
  });
}
