import type { Node } from "../../../ir/graph.ts";

/**
 * Whether templates/cpu/outer-matmul.ts sums a node's products in fixed point, with one operand as 16 bits relative to
 * the largest magnitude of 256 elements: of the linear gradients those whose other operand is codes that have a scale a
 * row at most.
 */
export function isFixedPoint({ op, operands }: Pick<Node, "op" | "operands">): boolean {
  if (op === "linear_weight_gradient") return operands.length === 3;
  const encoding = operands[1]?.type.encoding;
  return op === "linear_input_gradient" && encoding !== undefined && typeof encoding.scale !== "object";
}
