/**
 * dead-code: drops parameters that nothing reads. Nodes need no pass, because a graph is what its outputs
 * and next states reach. Inputs stay: they are the caller's signature. It runs last.
 *
 *   %x: input f32[batch, 8]
 *   %w: parameter "unused.weight" f32[8, 8]
 *   return y = %x
 * becomes
 *   %x: input f32[batch, 8]
 *   return y = %x
 */
import { type Graph, resultsOf, topologicalOrder, type Value } from "../graph.ts";
import type { Pass } from "../rewrite.ts";

export const deadCode: Pass = { name: "dead-code", run: dropUnusedParameters };

function dropUnusedParameters(graph: Graph): Graph {
  const read = new Set<Value>([
    ...topologicalOrder(graph).flatMap((node) => node.operands),
    ...resultsOf(graph),
  ]);
  return { ...graph, parameters: graph.parameters.filter((parameter) => read.has(parameter)) };
}
