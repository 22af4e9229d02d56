import { makeNode } from "../../ir/builder.ts";
import type { Graph } from "../../ir/graph.ts";
import type { OpName } from "../../ir/ops/index.ts";

/** The sum of every f32 output as a loss; undefined where there is none. */
export function withLoss(graph: Graph): Graph | undefined {
  const sums = graph.outputs.flatMap(({ value }) => {
    if (value.type.dtype !== "f32" || value.type.encoding) return [];
    let sum = value;
    while (sum.type.dims.length > 0) sum = makeNode("mean", [sum], { axis: 0, keep_dims: false }).results[0]!;
    return [sum];
  });
  if (sums.length === 0) return undefined;
  const value = sums.reduce((a, b) => makeNode("add", [a, b], {}).results[0]!);
  return { ...graph, outputs: [{ name: "loss", value }] };
}

/** Ops of graphs to differentiate: what models are described with, but caches and what chooses. */
export const differentiable: readonly OpName[] = [
  ...([
    "bit_linear",
    "linear",
    "embedding",
    "rms_norm",
    "rope",
    "rope_table",
    "attention",
    "softmax",
  ] as const),
  ...(["relu2", "silu", "gelu", "tanh", "abs", "add", "sub", "mul", "max", "min", "elementwise"] as const),
  ...(["sum", "mean", "max_reduce", "reshape", "transpose", "slice", "concat", "broadcast", "pad"] as const),
  "cast",
];
