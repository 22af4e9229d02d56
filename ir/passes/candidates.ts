/**
 * candidates: a graph with logits [..., V] also gives the largest of them and their tokens, so that a caller who
 * chooses the next token need not read them all: the largest for itself, because finding one is less work than finding
 * many, and the `count` largest.
 *
 *   return logits = %y
 * becomes
 *   %v: f32[batch, 1], %i: i32[batch, 1] = top_k(%y) {k = 1}
 *   %vs: f32[batch, 65], %is: i32[batch, 65] = top_k(%y) {k = 65}
 *   return logits = %y, bestLogit = %v, bestToken = %i, topLogits = %vs, topTokens = %is
 */
import { BitloomError } from "../../errors/index.ts";
import { makeNode } from "../builder.ts";
import type { Graph, Output } from "../graph.ts";

/** @throws BitloomError INVALID_GRAPH without logits of a literal last axis. */
export function addCandidates(graph: Graph, count: number): Graph {
  const logits = graph.outputs.find(({ name }) => name === "logits")?.value;
  const vocabulary = logits?.type.dims.at(-1);
  if (logits === undefined || typeof vocabulary !== "number") {
    throw new BitloomError("INVALID_GRAPH", `graph "${graph.name}" has no logits`, {
      expected: "an output logits [..., V]",
      received: graph.outputs.map(({ name }) => name).join(", "),
    });
  }
  const largest = (k: number, valueName: string, tokenName: string): Output[] => {
    const { results } = makeNode("top_k", [logits], { k }, { names: [valueName, tokenName] });
    return [
      { name: valueName, value: results[0]! },
      { name: tokenName, value: results[1]! },
    ];
  };
  return {
    ...graph,
    outputs: [
      ...graph.outputs,
      ...largest(1, "bestLogit", "bestToken"),
      ...largest(Math.min(count, vocabulary), "topLogits", "topTokens"),
    ],
  };
}
