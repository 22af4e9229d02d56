import { join } from "node:path";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { formatLocation, type Graph, type Node, topologicalOrder } from "../../ir/graph.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { load, type Model, wasmFeatures } from "../../runtime/index.ts";
import type { TensorInputs } from "../../runtime/session.ts";
import type { Tensor } from "../../runtime/tensors.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { writeArtifact } from "../compiler/artifact.ts";
import { withTemporaryFolder } from "../files/temporary.ts";
import { mul, total } from "./expressions.ts";

export interface NonFiniteOperands {
  /** The model that holds the graph's states. */
  readonly states: Model;
  /** Holds the graph's parameters. */
  readonly weights: ParameterSource;
  readonly inputs: TensorInputs;
}

/**
 * The first of a graph's operations whose result holds a NaN or an infinity, in words: a state that does, or an op with
 * its result and the line of the model that it comes from. The graph is compiled once more with a scalar for each
 * operation, the sum of its elements times 0, which is 0 or NaN. States that the graph writes and does not read, as
 * gradients are, do not count: the call that is looked into has written them.
 */
export async function firstNonFinite(
  graph: Graph,
  { states, weights, inputs }: NonFiniteOperands,
): Promise<string | undefined> {
  const nodes = topologicalOrder(graph);
  const read = new Set(nodes.flatMap(({ operands }) => operands));
  const values = new Map<string, Tensor>();
  for (const { value } of graph.states) {
    if (!read.has(value)) continue;
    const name = value.name!;
    const state = await states.readState(name);
    if (!(state.data as Float32Array).every(Number.isFinite)) return `the state "${name}"`;
    values.set(name, state);
  }
  const probes = nodes.flatMap((node) =>
    node.results
      .filter(({ type }) => type.dtype === "f32" && !type.encoding)
      .map((value) => ({ node, value })),
  );
  const probed: Graph = {
    ...graph,
    states: graph.states.map(({ value }) => ({ value, next: value })),
    outputs: probes.map(({ value }, i) => ({ name: `p${i}`, value: total(mul(value, 0)) })),
  };
  return withTemporaryFolder("bitloom-non-finite", async (folder) => {
    const plan = await schedule({ run: runForwardPipeline(probed) }, { targets: ["wasm"], maxThreads: 1 });
    const out = join(folder, "probes");
    const here = { cudaArchitectures: [], files: {}, engine: wasmFeatures() };
    await writeArtifact(plan, { out, name: graph.name, weights, ...here });
    const model = await load(out, { device: "wasm", threads: 1 });
    try {
      for (const [name, value] of values) await model.writeState(name, value);
      const outputs = await model.call("run", inputs);
      const found = probes.find((_, i) => !Number.isFinite(Number(outputs[`p${i}`]!.data[0])));
      return found && describeNode(found.node);
    } finally {
      await model.dispose();
    }
  });
}

function describeNode({ op, results: [result], operands, location }: Node): string {
  const of = operands.map(({ name }) => name).find((name) => name !== undefined);
  const name = result?.name === undefined ? (of === undefined ? "" : ` of %${of}`) : ` %${result.name}`;
  return `${op}${name}${location === undefined ? "" : ` (${formatLocation(location)})`}`;
}
