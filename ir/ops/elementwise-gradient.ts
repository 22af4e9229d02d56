/** Gradients of scalar expressions over broadcast operands, for whichever op computes one. */
import { chained } from "../derivative.ts";
import type { Value } from "../graph.ts";
import { arg, argumentsOf, mapArguments, type ScalarExpr, type ScalarFunction } from "../scalar.ts";
import { type Dim, sameDims } from "../types.ts";
import type { Emit } from "./define.ts";
import type { OpName } from "./index.ts";

/** The sum of a gradient over the axes along which a value of `dims` was repeated to make its shape. */
export function sumTo(gradient: Value, dims: readonly Dim[], emit: Emit): Value {
  let sum = gradient;
  while (sum.type.dims.length > dims.length) {
    sum = emit.one("sum", [sum], { axis: 0, keep_dims: false });
  }
  for (const [axis, dim] of dims.entries()) {
    if (dim === 1 && sum.type.dims[axis] !== 1) sum = emit.one("sum", [sum], { axis, keep_dims: true });
  }
  return sum;
}

/** The gradients of `expr(x0, x1, …)` by its operands, from that of its value; none for integer operands. */
export function expressionGradients(
  expr: ScalarExpr,
  operands: readonly Value[],
  gradient: Value,
  emit: Emit,
): readonly (Value | undefined)[] {
  return operands.map((operand, i) => {
    if (operand.type.dtype !== "f32") return undefined;
    const product = chained(expr, i, arg(operands.length));
    const whole = emitExpression(product, [...operands, gradient], gradient.type.dims, emit);
    return sumTo(whole, operand.type.dims, emit);
  });
}

/** An expression as the plainest node there is for it, with the given dims. */
function emitExpression(expr: ScalarExpr, values: readonly Value[], dims: readonly Dim[], emit: Emit): Value {
  if (expr.kind === "arg" && sameDims(values[expr.index]!.type.dims, dims)) return values[expr.index]!;
  if (expr.kind === "literal") {
    const scalar = emit.one("constant", [], { value: expr.value, dtype: "f32" });
    return emit.one("broadcast", [scalar], { dims: [...dims] });
  }
  if (expr.kind === "apply" && expr.args.every((part) => part.kind === "arg")) {
    const operands = expr.args.map((part) => values[(part as { readonly index: number }).index]!);
    return emit.one(expr.fn as OpName, operands, {} as never);
  }
  const used = argumentsOf(expr);
  const renumbered = mapArguments(expr, (index) => used.indexOf(index));
  return emit.one(
    "elementwise",
    used.map((index) => values[index]!),
    { expr: renumbered },
  );
}

/** The gradients of an op that applies one scalar function to its operands. */
export function functionGradients(
  fn: ScalarFunction,
  operands: readonly Value[],
  gradient: Value,
  emit: Emit,
): readonly (Value | undefined)[] {
  const args = operands.map((_, i) => arg(i));
  return expressionGradients({ kind: "apply", fn, args }, operands, gradient, emit);
}
