import type { Value } from "../../../ir/graph.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { bufferArgument, i32Argument, type Place } from "../draft.ts";
import type { Reduction } from "../reduction.ts";
import { ceilDiv, product } from "../symbols.ts";
import { type ReductionOp, tensorRules } from "../tensor-rules.ts";
import { mergeAxes } from "../view.ts";
import { reductionShape, strided } from "./grid.ts";

/** Axes of at most so many elements are reduced by one invocation each. */
const SHORT = 32;

/** A reduction whose workgroups share long axes, read neighbour by neighbour; generated code for other ones. */
export function reductionRule(op: ReductionOp, kind: Reduction): (typeof tensorRules)[ReductionOp] {
  return (node, context) => {
    const [x] = node.operands as [Value];
    const { axis } = node.attributes;
    const place = context.place(x);
    const shape = aroundAxis(place, axis < 0 ? axis + place.dims.length : axis);
    if (shape === undefined || context.upperBound(shape.length) <= SHORT) {
      tensorRules[op](node, context);
      return;
    }
    const { outer, length, inner, outerStride, stride, innerStride } = shape;
    const options = reductionShape(length, innerStride === 1 ? inner : 1, context);
    const { columns } = options;
    context.call(
      {
        template: "reduce",
        name: `reduce_${kind}_${columns === 1 ? "rows" : "columns"}`,
        options: { ...options, kind },
        arguments: {
          x: bufferArgument(place),
          out: bufferArgument(context.allocate(node.results[0]!)),
          outer: i32Argument(outer),
          length: i32Argument(length),
          inner: i32Argument(inner),
          outerStride: i32Argument(outerStride),
          stride: i32Argument(stride),
          innerStride: i32Argument(innerStride),
        },
      },
      strided(product(outer, ceilDiv(inner, columns)), context),
    );
  };
}

/** A tensor as three axes, the middle one to be reduced. */
interface AroundAxis {
  readonly outer: SymbolExpr;
  readonly length: SymbolExpr;
  readonly inner: SymbolExpr;
  readonly outerStride: SymbolExpr;
  readonly stride: SymbolExpr;
  readonly innerStride: SymbolExpr;
}

/** Undefined where what is before or after the axis cannot be stepped through with one stride. */
function aroundAxis({ dims, strides }: Place, axis: number): AroundAxis | undefined {
  const before = mergeAxes(dims.slice(0, axis), [strides.slice(0, axis)]);
  const after = mergeAxes(dims.slice(axis + 1), [strides.slice(axis + 1)]);
  if (before.dims.length > 1 || after.dims.length > 1) return undefined;
  return {
    outer: before.dims[0] ?? 1,
    length: dims[axis]!,
    inner: after.dims[0] ?? 1,
    outerStride: before.strides[0]![0] ?? 0,
    stride: strides[axis]!,
    innerStride: after.strides[0]![0] ?? 0,
  };
}
