/** Rules that need no hand-written kernel: views, and kernels the schedule generates. */
import type { NodeOf, Value } from "../../ir/graph.ts";
import {
  apply,
  arg,
  type BinaryFunction,
  binaryFunctions,
  isUnary,
  literal,
  type ScalarExpr,
  type UnaryFunction,
  unaryFunctions,
} from "../../ir/scalar.ts";
import { castCall } from "./cast.ts";
import type { Place } from "./draft.ts";
import { computeElementwise, elementwiseCall, integerCall } from "./elementwise.ts";
import { copyCall, lengthCall } from "./movement.ts";
import { type Reduction, reductionCall } from "./reduction.ts";
import type { RuleContext, ScheduleRule } from "./rules.ts";
import { broadcastView, contiguousView, reshapeView, sliceView, transposeView } from "./view.ts";

function axisOf(axis: number, value: Value): number {
  return axis < 0 ? axis + value.type.dims.length : axis;
}

function applyTo(expr: ScalarExpr, operands: readonly Value[], result: Value, context: RuleContext): void {
  const places = operands.map((operand) => context.place(operand));
  computeElementwise(expr, places, context.allocate(result), context);
}

function scalarRule<Fn extends UnaryFunction | BinaryFunction>(fn: Fn): ScheduleRule<Fn> {
  return (node: NodeOf<UnaryFunction | BinaryFunction>, context: RuleContext) => {
    const result = node.results[0]!;
    const [a, b] = node.operands as [Value, Value];
    if (result.type.dtype === "i32") {
      const integer = fn as Exclude<BinaryFunction, "div">;
      const out = context.allocate(result);
      context.generate(integerCall(integer, context.place(a), context.place(b), out, context.code));
      return;
    }
    const expr = isUnary(fn) ? apply(fn, arg(0)) : apply(fn as BinaryFunction, arg(0), arg(1));
    applyTo(expr, node.operands, result, context);
  };
}

type ScalarRules = { readonly [Fn in UnaryFunction | BinaryFunction]: ScheduleRule<Fn> };

const scalarNames = [...Object.keys(unaryFunctions), ...Object.keys(binaryFunctions)];
const scalarRules = Object.fromEntries(
  scalarNames.map((fn) => [fn, scalarRule(fn as UnaryFunction | BinaryFunction)]),
) as unknown as ScalarRules;

export type ReductionOp = "sum" | "mean" | "max_reduce" | "min_reduce";

function reductionRule(kind: Reduction) {
  return (node: NodeOf<ReductionOp>, context: RuleContext) => {
    const x = node.operands[0]!;
    const axis = axisOf(node.attributes.axis, x);
    const out = context.allocate(node.results[0]!);
    context.generate(reductionCall(kind, [context.place(x)], axis, out, context.code));
  };
}

/** Rules for elementwise, reduction, movement and view ops. */
export const tensorRules = {
  ...scalarRules,
  elementwise(node: NodeOf<"elementwise">, context: RuleContext) {
    applyTo(node.attributes.expr, node.operands, node.results[0]!, context);
  },
  sum: reductionRule("sum"),
  mean: reductionRule("mean"),
  max_reduce: reductionRule("max"),
  min_reduce: reductionRule("min"),
  /** The sum over k of a[m, n, k] * b[m, n, k], of which a has one row for all n, and b one for all m. */
  batch_matmul(node: NodeOf<"batch_matmul">, context: RuleContext) {
    const out = context.allocate(node.results[0]!);
    const axis = out.dims.length;
    const [a, b] = node.operands.map((operand, i) => {
      const place = context.place(operand);
      const rows = reshapeView(place, place.dims.toSpliced(i === 0 ? -1 : -2, 0, 1))!;
      return broadcastView(rows, [...out.dims, place.dims.at(-1)!]);
    }) as [Place, Place];
    context.generate(reductionCall("sum", [a, b], axis, out, context.code));
  },
  cast(node: NodeOf<"cast">, context: RuleContext) {
    const [x] = node.operands as [Value];
    const result = node.results[0]!;
    if (x.type.dtype === result.type.dtype) context.view(result, context.place(x));
    else context.generate(castCall(context.place(x), context.allocate(result), context.code));
  },
  reshape(node: NodeOf<"reshape">, context: RuleContext) {
    const [x] = node.operands as [Value];
    const result = node.results[0]!;
    const dims = context.dims(result);
    const view = reshapeView(context.place(x), dims) ?? reshapeView(context.contiguous(x), dims)!;
    context.view(result, view);
  },
  transpose(node: NodeOf<"transpose">, context: RuleContext) {
    const [x] = node.operands as [Value];
    context.view(node.results[0]!, transposeView(context.place(x), node.attributes.permutation));
  },
  slice(node: NodeOf<"slice">, context: RuleContext) {
    const [x] = node.operands as [Value];
    const { start, size } = node.attributes;
    const axis = axisOf(node.attributes.axis, x);
    context.requireLength(x.type.dims[axis]!, start < 0 ? -start : start + size);
    context.view(node.results[0]!, sliceView(context.place(x), axis, start, size));
  },
  broadcast(node: NodeOf<"broadcast">, context: RuleContext) {
    const result = node.results[0]!;
    context.view(result, broadcastView(context.place(node.operands[0]!), context.dims(result)));
  },
  pad(node: NodeOf<"pad">, context: RuleContext) {
    const [x] = node.operands as [Value];
    const result = node.results[0]!;
    const { start, length } = node.attributes;
    const axis = axisOf(node.attributes.axis, x);
    const size = x.type.dims[axis] as number;
    context.requireLength(length, start < 0 ? -start : start + size);
    const out = context.allocate(result);
    context.generate(elementwiseCall(literal(0), [], out, context.code));
    context.generate(copyCall(context.place(x), sliceView(out, axis, start, size), context.code));
  },
  axis_length(node: NodeOf<"axis_length">, context: RuleContext) {
    const [x] = node.operands as [Value];
    const length = context.dims(x).at(node.attributes.axis)!;
    context.generate(lengthCall(length, context.allocate(node.results[0]!)));
  },
  after(node: NodeOf<"after">, context: RuleContext) {
    context.view(node.results[0]!, context.place(node.operands[0]!));
  },
  /** Scales per tensor or row lie one after another as matrix products read them. */
  weight_scale(node: NodeOf<"weight_scale">, context: RuleContext) {
    const [w] = node.operands as [Value];
    const result = node.results[0]!;
    const scales = context.weight(w, "ternary-scales");
    context.view(result, contiguousView(scales, "f32", context.dims(result)));
  },
  concat(node: NodeOf<"concat">, context: RuleContext) {
    const result = node.results[0]!;
    const axis = axisOf(node.attributes.axis, result);
    const out = context.allocate(result);
    let start = 0;
    for (const operand of node.operands) {
      const size = operand.type.dims[axis] as number;
      context.generate(copyCall(context.place(operand), sliceView(out, axis, start, size), context.code));
      start += size;
    }
  },
};
