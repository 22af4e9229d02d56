import { GraphBuilder } from "../../ir/builder.ts";
import type { Graph, Node } from "../../ir/graph.ts";
import type { Attributes, OpName } from "../../ir/ops/index.ts";
import { isBuildTime } from "../../ir/passes/partition-parameters.ts";
import type { Tensor } from "../../ir/tensor.ts";

/** A graph of one node, and the tensors its leaves had in a larger graph. */
export interface NodeGraph {
  readonly graph: Graph;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly parameters: Readonly<Record<string, Tensor>>;
}

/**
 * The node alone: operands that were computed at run time become inputs, build-time ones parameters, with the
 * values the interpreter gave them. That checks a target op by op, without errors adding up.
 */
export function nodeGraph(
  node: Node,
  operands: readonly Tensor[],
  symbols: Graph["symbols"],
  attributes: Attributes<OpName> = node.attributes,
): NodeGraph {
  const builder = new GraphBuilder("node");
  for (const [name, bound] of symbols) builder.symbol(name, bound);
  const inputs: Record<string, Tensor> = {};
  const parameters: Record<string, Tensor> = {};
  const leaves = new Map(
    node.operands.map((operand, i) => {
      const name = `x${i}`;
      const buildTime = isBuildTime(operand);
      (buildTime ? parameters : inputs)[name] = operands[i]!;
      const leaf = buildTime ? builder.parameter(name, operand.type) : builder.input(name, operand.type);
      return [operand, leaf];
    }),
  );
  const values = node.operands.map((operand) => leaves.get(operand)!);
  const results = builder.apply(node.op, values, attributes as never);
  results.forEach((result, i) => {
    builder.output(`y${i}`, result);
  });
  return { graph: builder.build(), inputs, parameters };
}
