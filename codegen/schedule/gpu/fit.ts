/** Fused expressions within the number of buffers a GPU kernel may bind. */
import type { Value } from "../../../ir/graph.ts";
import { arg, type ScalarExpr } from "../../../ir/scalar.ts";
import type { Dim } from "../../../ir/types.ts";
import { computeElementwise } from "../elementwise.ts";
import { type RowOperand, rowOperands } from "../inline.ts";
import type { RuleContext } from "../rules.ts";

/**
 * What a template computes rows of `dims` from, read from at most `most` buffers: more than those become one
 * temporary first.
 */
export function fittingRows(
  expr: ScalarExpr,
  operands: readonly Value[],
  dims: readonly Dim[],
  most: number,
  context: RuleContext,
): { readonly expr: ScalarExpr; readonly operands: readonly RowOperand[] } {
  if (operands.length <= most) return { expr, operands: rowOperands(operands, dims, context) };
  const out = context.temporary("prologue", "f32", dims);
  const places = operands.map((operand) => context.place(operand));
  computeElementwise(expr, places, out, context);
  return { expr: arg(0), operands: [{ place: out, rank: dims.length }] };
}
