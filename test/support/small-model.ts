/** A language model small enough for the interpreter, and a conversation with it that every target must follow. */
import { expect } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import { type InterpretResult, interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { lowerModel } from "../../src/compiler/lower.ts";
import { bitnet } from "../../src/dsl/families/index.ts";
import type { LanguageModel } from "../../src/dsl/language-model.ts";
import { Random } from "./random.ts";
import { randomTensors } from "./random-graph.ts";
import type { WasmTensors } from "./run-wasm.ts";
import { relativeL2 } from "./tolerance.ts";

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
export function smallModel() {
  const model = bitnet(config);
  const source = storedDensely(model);
  const bounds = { batch: 2, chunk: 8 };
  const { run: reference } = lowerModel(model, source, { bounds, after: "bind" });
  return { reference: reference!, entries: lowerModel(model, source, { bounds }) };
}

/** As if a model's parameters were stored as they are described. */
export function storedDensely(model: LanguageModel) {
  const { parameters } = model.trace();
  return {
    info: (path: string) => {
      const parameter = parameters.find(({ origin }) => origin.kind === "parameter" && origin.path === path);
      const { dims, dtype } = parameter!.type;
      return { dims: dims as readonly number[], form: { kind: "dense" as const, dtype: dtype as "f32" } };
    },
  };
}

const i32 = (dims: readonly number[], values: readonly number[]) => tensor("i32", dims, values);

/**
 * Prefills in chunks and decodes, states carried from call to call. Logits and states must stay close to the
 * interpreter's on the graph before any pass.
 */
export async function converse(
  reference: Graph,
  run: (entry: string, tensors: WasmTensors) => InterpretResult | Promise<InterpretResult>,
): Promise<void> {
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
    const received = await run(entry, { inputs, parameters, states, symbols });
    const logits = received.outputs.logits!;
    expect(relativeL2(logits, lastRows(expected.outputs.logits!, logits)), entry).toBeLessThan(1e-3);
    for (const [name, want] of Object.entries(expected.states)) {
      expect(relativeL2(received.states[name]!, want), name).toBeLessThan(1e-3);
    }
    states = received.states;
    expectedStates = expected.states;
    position += seq;
  }
}

/** The logits that an entry gives of those at every position: all, or the last of each sequence. */
function lastRows(all: Tensor, like: Tensor): Tensor {
  if (all.data.length === like.data.length) return { ...all, type: like.type };
  const [batch = 0, seq = 0, width = 0] = all.type.dims;
  const rows = Array.from({ length: batch }, (_, b) =>
    Array.from(all.data.slice(((b + 1) * seq - 1) * width, (b + 1) * seq * width)),
  );
  return tensor("f32", like.type.dims, rows.flat());
}
