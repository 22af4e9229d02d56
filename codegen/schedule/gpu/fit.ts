/** Fused expressions within the number of buffers a GPU kernel may bind. */
import type { Value } from "../../../ir/graph.ts";
import { arg, type ScalarExpr } from "../../../ir/scalar.ts";
import { computeElementwise } from "../elementwise.ts";
import { type RowOperand, rowOperands } from "../inline.ts";
import type { RowWork } from "../row-work.ts";
import type { RuleContext } from "../rules.ts";

/**
 * What a template computes rows from, read from at most `most` buffers: more than those become one temporary first. A
 * template that reads each element `once` computes deferred ones.
 */
export function fittingRows(
  { expr, operands, dims }: RowWork,
  most: number,
  once: boolean,
  context: RuleContext,
): { readonly expr: ScalarExpr; readonly operands: readonly RowOperand[] } {
  const buffers = (operand: Value) => {
    const computed = once ? context.computed(operand) : undefined;
    return computed?.arguments.filter(({ kind }) => kind === "buffer").length ?? 1;
  };
  if (operands.reduce((sum, operand) => sum + buffers(operand), 0) <= most) {
    return { expr, operands: rowOperands(operands, dims, context, once) };
  }
  const out = context.temporary("prologue", "f32", dims);
  const places = operands.map((operand) => context.place(operand));
  computeElementwise(expr, places, out, context);
  return { expr: arg(0), operands: [{ place: out, rank: dims.length }] };
}
