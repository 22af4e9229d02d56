/**
 * specialize: binds symbols to numbers and rebuilds every type. `decode` is `prefill` with seq = 1.
 *
 *   graph @lm(batch <= 4, seq <= 128) {
 *     %x: input f32[batch, seq, 8]
 *     %y: f32[batch, seq, 2, 4] = reshape(%x) {dims = ["batch", "seq", 2, 4]}
 * becomes, with seq = 1,
 *   graph @lm(batch <= 4) {
 *     %x: input f32[batch, 1, 8]
 *     %y: f32[batch, 1, 2, 4] = reshape(%x) {dims = ["batch", 1, 2, 4]}
 */
import { BitloomError } from "../../errors/index.ts";
import type { Graph, Node, Value } from "../graph.ts";
import { rebuild, remake } from "../rewrite.ts";
import { type Dim, substituteDims } from "../types.ts";

/**
 * @throws BitloomError INVALID_GRAPH when a symbol is not the graph's or the value is outside 1..max.
 */
export function specialize(graph: Graph, bindings: Readonly<Record<string, number>>): Graph {
  const values = new Map(Object.entries(bindings));
  for (const [symbol, value] of values) checkBinding(graph, symbol, value);
  const specialized = rebuild(graph, {
    leaf: (value) => specializeLeaf(value, values),
    visit: (node, operands) => specializeNode(node, operands, values),
  });
  const symbols = new Map([...graph.symbols].filter(([symbol]) => !values.has(symbol)));
  return { ...specialized, symbols };
}

function checkBinding(graph: Graph, symbol: string, value: number): void {
  const bound = graph.symbols.get(symbol);
  if (bound && Number.isInteger(value) && value >= 1 && value <= bound.max) return;
  throw new BitloomError("INVALID_GRAPH", `cannot specialize graph "${graph.name}" to ${symbol} = ${value}`, {
    expected: bound ? `1 <= ${symbol} <= ${bound.max}` : `one of ${[...graph.symbols.keys()].join(", ")}`,
    received: `${symbol} = ${value}`,
  });
}

function specializeLeaf(value: Value, values: ReadonlyMap<string, number>): Value {
  const dims = substituteDims(value.type.dims, values);
  return dims.some((dim, i) => dim !== value.type.dims[i])
    ? { ...value, type: { ...value.type, dims } }
    : value;
}

/** Types follow from operands, but for ops that name dims themselves. */
function specializeNode(
  node: Node,
  operands: readonly Value[],
  values: ReadonlyMap<string, number>,
): readonly Value[] | undefined {
  switch (node.op) {
    case "reshape":
    case "broadcast":
      return remake(node, node.op, operands, { dims: substituteDims(node.attributes.dims, values) }).results;
    case "pad": {
      const [length] = substituteDims([node.attributes.length], values) as [Dim];
      return remake(node, "pad", operands, { ...node.attributes, length }).results;
    }
    default:
      return undefined;
  }
}
