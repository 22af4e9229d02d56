/**
 * last-position: an output [batch, seq, ...] is cut to its last position, [batch, ...]. It makes `prefill`
 * from the traced graph; sink-slices then moves the cut towards the inputs, so that what only later
 * positions would need is computed for one row.
 *
 *   return logits = %y
 * becomes
 *   %l: f32[batch, 1, 8] = slice(%y) {axis = 1, start = -1, size = 1}
 *   %r: f32[batch, 8] = reshape(%l) {dims = ["batch", 8]}
 *   return logits = %r
 */
import { BitloomError } from "../../errors/index.ts";
import { makeNode } from "../builder.ts";
import type { Graph, Value } from "../graph.ts";
import { nameAfter } from "../rewrite.ts";
import { formatType } from "../types.ts";

/** @throws BitloomError INVALID_GRAPH without an output of this name and at least two axes. */
export function lastPosition(graph: Graph, name = "logits"): Graph {
  const output = graph.outputs.find((candidate) => candidate.name === name);
  if (!output || output.value.type.dims.length < 2) {
    throw new BitloomError("INVALID_GRAPH", `graph "${graph.name}" has no positions to cut`, {
      expected: `an output ${name} [batch, seq, ...]`,
      received: graph.outputs.map((each) => `${each.name} ${formatType(each.value.type)}`).join(", "),
    });
  }
  const value = cutToLast(output.value);
  return {
    ...graph,
    outputs: graph.outputs.map((each) => (each === output ? { ...each, value } : each)),
  };
}

function cutToLast(value: Value): Value {
  const [batch, , ...rest] = value.type.dims;
  const cut = { axis: 1, start: -1, size: 1 };
  const last = makeNode("slice", [value], cut, { names: [nameAfter(value, "last")] }).results[0]!;
  return makeNode("reshape", [last], { dims: [batch!, ...rest] }, { names: [value.name] }).results[0]!;
}
