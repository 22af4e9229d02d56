/**
 * Which values depend on parameters alone. They are evaluated once, while the weights stream through the
 * build (or, in training, again after each update), and never at run time.
 *
 *   %a: f32[8, 4] ternary(tensor) = absmean_quantize(%w)   build time
 *   %s: f32[8] = weight_scale(%a)                          build time
 *   %y: f32[batch, 8] = linear(%x, %a)                     run time: reads an input
 *   %z: f32[batch, 8] = broadcast(%b) {…}                  run time: as large as the call says
 */
import { type Graph, type Node, resultsOf, topologicalOrder, type Value } from "../graph.ts";

const known = new WeakMap<Node, boolean>();

/** Whether the value depends on no input, no state and no symbol: a parameter, a constant, or computed from those. */
export function isBuildTime(value: Value): boolean {
  if (value.origin.kind !== "node") return value.origin.kind === "parameter";
  const stack = [value.origin.node];
  for (let node = stack.at(-1); node; node = stack.at(-1)) {
    if (known.has(node)) {
      stack.pop();
      continue;
    }
    const unknown = node.operands.flatMap(({ origin }) =>
      origin.kind === "node" && !known.has(origin.node) ? [origin.node] : [],
    );
    if (unknown.length > 0) stack.push(...unknown);
    else known.set(node, node.operands.every(isKnownBuildTime) && node.results.every(hasLiteralDims));
  }
  return isKnownBuildTime(value);
}

/** What is as large as a call says has no size at build time. */
function hasLiteralDims({ type }: Value): boolean {
  return type.dims.every((dim) => typeof dim === "number");
}

function isKnownBuildTime({ origin }: Value): boolean {
  return origin.kind === "node" ? known.get(origin.node) === true : origin.kind === "parameter";
}

export interface Partition {
  /** Nodes evaluated at build, in order. */
  readonly buildTime: readonly Node[];
  /** Nodes evaluated on every call, in order. */
  readonly runTime: readonly Node[];
  /** Build-time values that run-time nodes, outputs or next states read: what the artifact stores. */
  readonly weights: readonly Value[];
}

/** Splits a graph at the boundary between build and run. */
export function partitionParameters(graph: Graph): Partition {
  const order = topologicalOrder(graph);
  const buildTime = order.filter((node) => node.results.every(isBuildTime));
  const runTime = order.filter((node) => !node.results.every(isBuildTime));
  const read = [...runTime.flatMap((node) => node.operands), ...resultsOf(graph)];
  return { buildTime, runTime, weights: [...new Set(read.filter(isBuildTime))] };
}
