import {
  arg,
  argumentsOf,
  type BinaryFunction,
  formatScalar,
  mapArguments,
  type ScalarExpr,
} from "../../ir/scalar.ts";
import type { GeneratedCall, Place } from "./draft.ts";
import type { TargetCode } from "./lanes.ts";
import { pointwise } from "./pointwise.ts";
import type { RuleContext } from "./rules.ts";
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

/** Emits out = expr(x0, x1, …), in several steps where one kernel of the target cannot have all operands. */
export function computeElementwise(
  expr: ScalarExpr,
  operands: readonly Place[],
  out: Place,
  context: RuleContext,
): void {
  const most = context.limits.buffers - 1;
  const places = [...operands];
  let rest = expr;
  while (rest.kind === "apply" && argumentsOf(rest).length > most) {
    const counts = rest.args.map((inner) => (inner.kind === "apply" ? argumentsOf(inner).length : 0));
    const largest = counts.indexOf(Math.max(...counts));
    const part = context.temporary("part of an expression", "f32", out.dims);
    computeElementwise(rest.args[largest]!, places, part, context);
    rest = { ...rest, args: rest.args.map((inner, i) => (i === largest ? arg(places.length) : inner)) };
    places.push(part);
  }
  const used = argumentsOf(rest);
  const kept = used.length > 0 && places.length > most ? used : places.map((_, i) => i);
  const compact = mapArguments(rest, (index) => kept.indexOf(index));
  const read = kept.map((index) => places[index]!);
  context.generate(elementwiseCall(compact, read, out, context.code));
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
