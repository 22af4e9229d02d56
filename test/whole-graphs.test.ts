/**
 * Whole graphs on the WASM target: shared and reused memory, views of views, states, several entries. Ops whose
 * results are exact give the interpreter's bits; a language model stays close to it.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Graph } from "../ir/graph.ts";
import { interpret } from "../ir/interpret.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../ir/tensor.ts";
import { lowerModel } from "../src/compiler/lower.ts";
import { bitnet } from "../src/dsl/families/index.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, randomTensors } from "./support/random-graph.ts";
import { WasmProgram } from "./support/run-wasm.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { relativeL2 } from "./support/tolerance.ts";

test("random graphs of exact ops give the interpreter's bits, fused or not, however often they run", () =>
  fc.assert(
    fc.asyncProperty(
      graphs({
        ops: exactOps,
        exact: true,
        size: 16,
        castTo: ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"],
      }),
      fc.integer(),
      async (graph, seed) => {
        const program = await WasmProgram.compile({ run: graph, fused: runForwardPipeline(graph) });
        for (const threads of [1, 2, 3]) {
          const tensors = randomTensors(graph, new Random(seed + threads));
          const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
          const expected = interpret(graph, given);
          for (const entry of ["run", "fused"]) {
            expectSameResults(
              program.run(entry, given, { threads, reversed: threads === 2 }),
              expected,
              `${entry}, ${threads} threads`,
            );
          }
        }
      },
    ),
    { numRuns: 120 },
  ));

const config = {
  name: "small",
  architecture: "BitNetForCausalLM",
  vocabularySize: 61,
  hiddenSize: 72,
  intermediateSize: 100,
  layers: 2,
  heads: 6,
  keyValueHeads: 2,
  headDim: 12,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  contextLength: 24,
  activation: "relu2",
  tiedHead: true,
  attentionBias: false,
  mlpBias: false,
  quantized: true,
  bosToken: null,
  eosTokens: [0],
} as const;

/** The model's graph before any pass, and what the compiler makes of it. */
function smallModel() {
  const model = bitnet(config);
  const source = {
    info: (path: string) => {
      const parameter = traced.parameters.find(
        ({ origin }) => origin.kind === "parameter" && origin.path === path,
      );
      const { dims, dtype } = parameter!.type;
      return { dims: dims as readonly number[], form: { kind: "dense" as const, dtype: dtype as "f32" } };
    },
  };
  const traced: Graph = model.trace();
  const bounds = { batch: 2, chunk: 8 };
  const { run: reference } = lowerModel(model, source, { bounds, after: "bind" });
  return { reference: reference!, entries: lowerModel(model, source, { bounds }) };
}

const i32 = (dims: readonly number[], values: readonly number[]) => tensor("i32", dims, values);

test("a language model prefills in chunks and decodes, its states carried from call to call", async () => {
  const { reference, entries } = smallModel();
  const program = await WasmProgram.compile(entries);
  const { parameters } = randomTensors(reference, new Random(7));
  const random = new Random(8);
  let states: Readonly<Record<string, Tensor>> = {};
  let expectedStates: Readonly<Record<string, Tensor>> = {};
  let position = 0;
  for (const [entry, seq] of [
    ["prefill", 5],
    ["prefill", 1],
    ["decode", 1],
    ["decode", 1],
    ["prefill", 8],
    ["run", 3],
    ["decode", 1],
  ] as const) {
    const tokens = i32(
      [2, seq],
      Array.from({ length: 2 * seq }, () => random.int(0, config.vocabularySize - 1)),
    );
    const inputs = {
      tokens,
      positions: i32([2], [position, position]),
      slots: i32([2], [1, 0]),
    };
    const symbols = { slots: 2 };
    const expected = interpret(reference, { inputs, parameters, states: expectedStates, symbols });
    const received = program.run(entry, { inputs, parameters, states, symbols }, { threads: 2 });
    const logits = received.outputs.logits!;
    expect(relativeL2(logits, lastRows(expected.outputs.logits!, logits)), entry).toBeLessThan(1e-3);
    for (const [name, want] of Object.entries(expected.states)) {
      expect(relativeL2(received.states[name]!, want), name).toBeLessThan(1e-3);
    }
    states = received.states;
    expectedStates = expected.states;
    position += seq;
  }
});

/** The logits that an entry gives of those at every position: all, or the last of each sequence. */
function lastRows(all: Tensor, like: Tensor): Tensor {
  if (all.data.length === like.data.length) return { ...all, type: like.type };
  const [batch = 0, seq = 0, width = 0] = all.type.dims;
  const rows = Array.from({ length: batch }, (_, b) =>
    Array.from(all.data.slice(((b + 1) * seq - 1) * width, (b + 1) * seq * width)),
  );
  return tensor("f32", like.type.dims, rows.flat());
}
