/**
 * Appending elementwise operations to a matrix product's epilogue; shared by fuse-scale and fuse-bitlinear.
 */
import type { Node, Value } from "../graph.ts";
import { producedBy, type RewriteContext, remake } from "../rewrite.ts";
import { acc, type ScalarExpr, scalarSize } from "../scalar.ts";
import { sameDims } from "../types.ts";
import {
  asExpression,
  MAX_EXPRESSION_OPERANDS,
  MAX_EXPRESSION_SIZE,
  OperandList,
  occurrences,
  replaceArguments,
} from "./fusion.ts";
import { isBuildTime } from "./partition-parameters.ts";

export type Product = Node<"linear"> | Node<"ternary_matmul">;

/** The matrix product that makes a value. */
export function productOf(value: Value): Product | undefined {
  return producedBy(value, "linear", "ternary_matmul") as Product | undefined;
}

/** A product's operands before the epilogue's extras: x and w, or codes, sum and w. */
export function ownOperands(product: Product): number {
  return product.op === "linear" ? 2 : 3;
}

/**
 * The elementwise `node` as the end of the epilogue of a product among its operands. The product must have
 * no other reader and the node's dims, so that the same elements are computed once, in the same order of
 * rounding; `accept` judges the other operands. Undefined when no operand qualifies.
 */
export function appendToEpilogue(
  node: Node,
  context: RewriteContext,
  accept: (extra: Value) => boolean,
): readonly Value[] | undefined {
  const tail = asExpression(node);
  if (!tail || isBuildTime(node.results[0]!)) return undefined;
  for (const [i, operand] of tail.operands.entries()) {
    const product = productOf(operand);
    if (!product || context.uses(operand) !== 1) continue;
    if (!sameDims(operand.type.dims, node.results[0]!.type.dims)) continue;
    const rest = tail.operands.filter((other) => other !== operand);
    if (!rest.every((extra) => accept(extra))) continue;
    const before: ScalarExpr = product.attributes.epilogue ?? acc;
    // Reading the product twice would compute its epilogue twice.
    if (occurrences(tail.expr, i) > 1 && before.kind !== "acc") continue;
    const own = ownOperands(product);
    const list = new OperandList();
    const inner = replaceArguments({ expr: before, operands: product.operands.slice(own) }, (value) =>
      list.leaf(value),
    );
    const epilogue = replaceArguments(tail, (value) => (value === operand ? inner : list.leaf(value)));
    if (list.values.length > MAX_EXPRESSION_OPERANDS || scalarSize(epilogue) > MAX_EXPRESSION_SIZE) continue;
    const operands = [...product.operands.slice(0, own), ...list.values];
    return remake(node, product.op, operands, { ...product.attributes, epilogue }).results;
  }
  return undefined;
}
