/**
 * What the fusing passes share: reading a node as a scalar expression over its operands, and inlining the
 * producers of those operands.
 */
import type { Node, Value } from "../graph.ts";
import type { OpName } from "../ops/index.ts";
import { producedBy, type RewriteContext } from "../rewrite.ts";
import type { BinaryFunction, ScalarExpr, ScalarFunction, UnaryFunction } from "../scalar.ts";
import { apply, arg, binaryFunctions, literal, scalarSize, substitute, unaryFunctions } from "../scalar.ts";
import { broadcast, type Dim, sameDims } from "../types.ts";
import { isBuildTime } from "./partition-parameters.ts";

/** The ops that compute each element from the elements at the same place of their operands. */
export const elementwiseOps: readonly (UnaryFunction | BinaryFunction | "elementwise")[] = [
  ...(Object.keys(unaryFunctions) as UnaryFunction[]),
  ...(Object.keys(binaryFunctions) as BinaryFunction[]),
  "elementwise",
];

/** Larger expressions stay split over several nodes: a kernel should be readable and quick to compile. */
export const MAX_EXPRESSION_SIZE = 64;
/** Operands of a fused expression; each becomes a buffer of the kernel, and devices bound their number. */
export const MAX_EXPRESSION_OPERANDS = 6;

/** An expression over `operands[i]` as `x{i}`. */
export interface Fused {
  readonly expr: ScalarExpr;
  readonly operands: readonly Value[];
}

/** An elementwise node with an f32 result as an expression over its operands. */
export function asExpression(node: Node): Fused | undefined {
  if (!(elementwiseOps as readonly OpName[]).includes(node.op)) return undefined;
  if (node.results[0]!.type.dtype !== "f32") return undefined;
  const { operands } = node;
  if (node.op === "elementwise") return { expr: node.attributes.expr, operands };
  return { expr: apply(node.op as ScalarFunction, ...operands.map((_, i) => arg(i))), operands };
}

/** The operands of an expression under construction, each once; scalar constants become literals. */
export class OperandList {
  readonly values: Value[] = [];

  leaf(value: Value): ScalarExpr {
    const constant = producedBy(value, "constant");
    if (constant && value.type.dtype === "f32") return literal(constant.attributes.value);
    if (!this.values.includes(value)) this.values.push(value);
    return arg(this.values.indexOf(value));
  }
}

/** How often an expression reads argument `index`, or the accumulator. */
export function occurrences(expr: ScalarExpr, leaf: number | "acc"): number {
  let count = 0;
  substitute(expr, (found) => {
    if (found.kind === "acc" ? leaf === "acc" : found.index === leaf) count++;
    return undefined;
  });
  return count;
}

/**
 * Inlines the elementwise producers of an expression's operands: those that nothing else reads, that are
 * read at one place, and that already have the result's dims, so that no element is computed twice.
 * Undefined when there is nothing to inline.
 */
export function inlineProducers(
  fused: Fused,
  dims: readonly Dim[],
  context: RewriteContext,
): Fused | undefined {
  const inner = new Map<Value, Fused>();
  let size = scalarSize(fused.expr);
  const read = new Set(fused.operands);
  for (const [i, operand] of fused.operands.entries()) {
    if (operand.origin.kind !== "node" || context.uses(operand) !== 1 || isBuildTime(operand)) continue;
    if (!sameDims(operand.type.dims, dims) || occurrences(fused.expr, i) !== 1) continue;
    const candidate = asExpression(operand.origin.node);
    if (!candidate || size + scalarSize(candidate.expr) > MAX_EXPRESSION_SIZE) continue;
    const after = new Set([...read, ...candidate.operands]);
    if (after.size - 1 > MAX_EXPRESSION_OPERANDS) continue;
    read.delete(operand);
    for (const value of candidate.operands) read.add(value);
    size += scalarSize(candidate.expr);
    inner.set(operand, candidate);
  }
  const constants = fused.operands.some(
    (operand) => producedBy(operand, "constant")?.attributes.dtype === "f32",
  );
  if (inner.size === 0 && !constants) return undefined;
  const list = new OperandList();
  const place = (operand: Value): ScalarExpr => {
    const candidate = inner.get(operand);
    return candidate ? replaceArguments(candidate, (value) => list.leaf(value)) : list.leaf(operand);
  };
  const expr = replaceArguments(fused, place);
  // An operand that the expression ignores may still have given the result its shape.
  const shape = broadcast(...list.values.map((value) => value.type.dims));
  if (list.values.length === 0 || !shape || !sameDims(shape, dims)) return undefined;
  return { expr, operands: list.values };
}

/** The expression with each argument replaced by what `place` makes of its operand. */
export function replaceArguments(fused: Fused, place: (operand: Value) => ScalarExpr): ScalarExpr {
  return substitute(fused.expr, (leaf) =>
    leaf.kind === "arg" ? place(fused.operands[leaf.index]!) : undefined,
  );
}
