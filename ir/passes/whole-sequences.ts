/**
 * whole-sequences: attention over caches becomes attention over the tokens of the call, for calls whose sequences are
 * new: every position is 0, every slot is fresh. What training computes. Caches, and the inputs that say where in them
 * a sequence stands, are gone.
 *
 *   %slots: input i32[batch]
 *   %at: input i32[batch]
 *   %c: state "k" f32[slots, 8, 1, 4]
 *   %d: state "v" f32[slots, 8, 1, 4]
 *   %kc: f32[slots, 8, 1, 4] = cache_write(%c, %k, %slots, %at)
 *   %vc: f32[slots, 8, 1, 4] = cache_write(%d, %v, %slots, %at)
 *   %y: f32[batch, seq, 2, 4] = attention(%q, %kc, %vc, %slots, %at) {scale = 0.5}
 * becomes
 *   %y: f32[batch, seq, 2, 4] = attention(%q, %k, %v) {scale = 0.5}
 */
import { makeNode } from "../builder.ts";
import { type Graph, type Node, topologicalOrder, type Value } from "../graph.ts";
import { type Pass, producedBy, rebuild, remake } from "../rewrite.ts";

export const wholeSequences: Pass = { name: "whole-sequences", run: forgetCaches };

function forgetCaches(graph: Graph): Graph {
  const attentions = topologicalOrder(graph).filter(isCached);
  if (attentions.length === 0) return graph;
  const caches = new Set(attentions.flatMap((node) => node.operands.slice(1, 3)));
  const places = new Set(attentions.flatMap((node) => node.operands.slice(3)));
  const starts = new Map([...places].map((value) => [value, zerosLike(value)]));
  const states = graph.states.filter(({ next }) => !caches.has(next));
  const rebuilt = rebuild(
    { ...graph, states },
    {
      leaf: (value) => starts.get(value) ?? value,
      visit: (node, operands) => {
        if (!isCached(node)) return undefined;
        const [keys, values] = [operands[1]!, operands[2]!].map(written);
        return remake(node, "attention", [operands[0]!, keys!, values!], node.attributes).results;
      },
    },
  );
  const zeros = new Set(starts.values());
  const inputs = rebuilt.inputs.filter((input) => !zeros.has(input));
  return {
    ...rebuilt,
    inputs,
    symbols: usedSymbols(
      graph,
      inputs,
      states.map(({ value }) => value),
    ),
  };
}

/** Attention over caches that this very call writes. */
function isCached(node: Node): node is Node<"attention"> {
  return (
    node.op === "attention" &&
    node.operands.length === 5 &&
    node.operands.slice(1, 3).every((cache) => producedBy(cache, "cache_write"))
  );
}

function written(cache: Value): Value {
  return producedBy(cache, "cache_write")!.operands[1]!;
}

function zerosLike({ type }: Value): Value {
  const zero = makeNode("constant", [], { value: 0, dtype: "i32" }).results[0]!;
  return makeNode("broadcast", [zero], { dims: [...type.dims] }).results[0]!;
}

/** The symbols that inputs and states bind; that of the slots is no more. */
function usedSymbols(graph: Graph, ...leaves: readonly (readonly Value[])[]): Graph["symbols"] {
  const dims = new Set(leaves.flat().flatMap(({ type }) => type.dims));
  return new Map([...graph.symbols].filter(([symbol]) => dims.has(symbol)));
}
