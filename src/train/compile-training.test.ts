import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import { gradientName } from "../../ir/passes/gradient.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { load, type Model } from "../../runtime/index.ts";
import { readStates } from "../../runtime/training/index.ts";
import {
  expectNanoTraining,
  nanoBatch,
  nanoModel,
  nanoTensors,
  nanoTraining,
} from "../../test/support/nano-train.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { type MemoryParameter, memorySource } from "../checkpoint/source.ts";
import { evaluate } from "../compiler/prepare/fallback.ts";
import { add, relu2 } from "../dsl/index.ts";
import { bitLinear } from "../dsl/layers/bit-linear.ts";
import { bitLinearLRC } from "../dsl/layers/bit-linear-lrc.ts";
import { linear } from "../dsl/layers/linear.ts";
import { rmsNorm } from "../dsl/layers/rms-norm.ts";
import { defineModel } from "../dsl/model.ts";
import { f32 } from "../dsl/tensor.ts";
import { onlyCorrections, trainable } from "../quantize/trainable.ts";
import { type CompileTrainingOptions, compileTraining } from "./compile-training.ts";
import { adamW, lossGraph, squaredErrorLoss, trainingEntries, trainStep } from "./index.ts";

const { betas, eps, weight_decay: weightDecay, lr } = nanoTraining.optimizer;
const optimizer = adamW({ betas, eps, weightDecay });

/** A tensor as calls take it. */
const given = ({ data, type }: Tensor) => ({
  data: data as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>,
  dims: type.dims as readonly number[],
});

describe("the reference implementation's run through a compiled artifact", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitloom-training-"));
    const symbols = { batch: { max: 4 }, seq: { max: 32 } };
    await compileTraining(await nanoModel(), { out: join(folder, "whole"), optimizer, symbols });
    await compileTraining(await nanoModel(), {
      out: join(folder, "parts"),
      optimizer,
      symbols: { ...symbols, batch: { max: 2 } },
      accumulation: 2,
      clipNorm: 1e9,
    });
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const open = async (name: string): Promise<Model> => {
    const model = await load(join(folder, name), { threads: 2 });
    for (const [path, value] of Object.entries(await nanoTensors("model")))
      await model.writeState(path, given(value));
    return model;
  };
  const batch = (step: number) => {
    const { tokens, targets } = nanoBatch(step);
    return { tokens: given(tokens!), targets: given(targets!) };
  };
  const number = (value: { data: ArrayLike<number | bigint> } | undefined) => Number(value!.data[0]);
  const rate = Float32Array.of(lr);

  test("losses, gradient norms, evaluation and weights", async () => {
    const model = await open("whole");
    const [evaluated, outputs] = [
      await model.call("evaluate", batch(0)),
      await model.call("gradients", batch(0)),
    ];
    expect(number(evaluated.loss)).toBe(number(outputs.loss));
    await expectNanoTraining(20, model);
    await model.dispose();
  });

  test("a step in two calls is the step in one", async () => {
    const [whole, parts] = [await open("whole"), await open("parts")];
    const { tokens, targets } = batch(0);
    const half = (from: number) => ({
      tokens: {
        data: tokens.data.slice(from * 32, (from + 2) * 32) as Int32Array<ArrayBuffer>,
        dims: [2, 32],
      },
      targets: {
        data: targets.data.slice(from * 32, (from + 2) * 32) as Int32Array<ArrayBuffer>,
        dims: [2, 32],
      },
    });
    const one = await whole.call("gradients", { tokens, targets });
    const first = await parts.call("gradients", half(0));
    const second = await parts.call("accumulate", half(2));
    expect((number(first.loss) + number(second.loss)) / 2).toBeCloseTo(number(one.loss), 5);
    expect(number(second.gradient_norm)).toBeCloseTo(number(one.gradient_norm), 5);
    await parts.call("update", {
      learning_rate: rate,
      gradient_norm: second.gradient_norm as { data: Float32Array<ArrayBuffer>; dims: number[] },
    });
    await whole.call("update", { learning_rate: rate });
    const path = "model.layers.0.mlp.down_proj.weight";
    const [a, b] = [await whole.readState(path), await parts.readState(path)];
    const dims = a.dims;
    expect(
      relativeL2(tensor("f32", dims, b.data as Float32Array), tensor("f32", dims, a.data as Float32Array)),
    ).toBeLessThan(1e-4);
    await Promise.all([whole.dispose(), parts.dispose()]);
  });
});

test("the entries compute the bits of the step that is one graph", () => {
  const model = defineModel({
    name: "mlp",
    inputs: { x: f32("batch", 6) },
    layers: { up: bitLinear(6, 8), down: linear(8, 2, { bias: true }) },
    forward: ({ x }, { up, down }) => ({ y: down(up(x)) }),
  });
  const graph = lossGraph(model, { loss: (traced) => squaredErrorLoss(traced, { output: "y" }) });
  const options = { optimizer: adamW(), clipNorm: 0.05 };
  const entries = trainingEntries(graph, 1, options);
  const value = (length: number, seed: number) =>
    Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898 + seed));
  const inputs = { x: tensor("f32", [4, 6], value(24, 0)), targets: tensor("f32", [4, 2], value(8, 1)) };
  const rate = tensor("f32", [], [0.1]);
  const states = {
    "up.weight": tensor("f32", [8, 6], value(48, 2)),
    "down.weight": tensor("f32", [2, 8], value(16, 3)),
    "down.bias": tensor("f32", [2], value(2, 4)),
  };
  const whole = interpret(trainStep(graph, options), {
    inputs: { ...inputs, learning_rate: rate },
    parameters: {},
    states,
  });
  const gradients = interpret(entries.gradients, { inputs, parameters: {}, states });
  const updated = interpret(entries.update, {
    inputs: { learning_rate: rate, gradient_norm: gradients.outputs.gradient_norm! },
    parameters: {},
    states: gradients.states,
  });
  expect(gradients.outputs).toEqual(whole.outputs);
  for (const [name, state] of Object.entries(whole.states)) expect(updated.states[name], name).toEqual(state);
});

test("what is frozen is a constant in the form it is stored in, and its bits stay", async () => {
  const model = defineModel({
    name: "corrected",
    inputs: { x: f32("batch", 16) },
    symbols: { batch: { max: 4 } },
    layers: {
      down: bitLinearLRC(16, 12, { rank: 2 }),
      up: bitLinear(12, 8),
      head: linear(8, 4),
      scale: rmsNorm(4),
    },
    forward: ({ x }, { down, up, head, scale }) => ({ y: scale(head(up(down(x)))) }),
  });
  const value = (length: number, seed: number) =>
    Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898 + seed));
  const bf16 = (data: Float32Array) => new Uint16Array(data.buffer).filter((_, i) => i % 2 === 1);
  const dense = { kind: "dense", dtype: "bf16" } as const;
  const packed = Uint8Array.from({ length: 2 * 12 }, (_, i) => [0b01_10_00_01, 0b10_00_01_01][i % 2]!);
  const form = { kind: "ternary-packed", scale: Float32Array.of(0.25), layout: "hf" } as const;
  const weights = memorySource(
    new Map<string, MemoryParameter>([
      ["down.weight", { dims: [12, 16], data: bf16(value(192, 0)), form: dense }],
      ["up.weight", { dims: [8, 12], data: packed, form }],
      ["head.weight", { dims: [4, 8], data: bf16(value(32, 1)), form: dense }],
      ["scale.weight", { dims: [4], data: bf16(value(4, 2)), form: dense }],
    ]),
  );
  const parameters = trainable(model, onlyCorrections);
  const loss = (traced: Graph) => squaredErrorLoss(traced, { output: "y" });
  const folder = await mkdtemp(join(tmpdir(), "bitloom-frozen-"));
  try {
    const options = { optimizer: adamW(), loss, parameters, weights };
    await compileTraining(model, { ...options, out: join(folder, "step") });
    await using loaded = await load(join(folder, "step"), { threads: 1 });
    expect(loaded.manifest.states!.map(({ name }) => name).filter((name) => !name.includes("lrc"))).toEqual([
      "adamw.first_correction",
      "adamw.second_correction",
    ]);
    const states = {
      "down.lrc_U": tensor("f32", [12, 2], value(24, 3)),
      "down.lrc_V": tensor("f32", [16, 2], value(32, 4)),
    };
    for (const [name, state] of Object.entries(states)) await loaded.writeState(name, given(state));
    const inputs = { x: tensor("f32", [4, 16], value(64, 5)), targets: tensor("f32", [4, 4], value(16, 6)) };
    const graph = trainingEntries(lossGraph(model, options), 1, { optimizer: adamW(), parameters }).gradients;
    const stored = await Promise.all(
      graph.parameters.map(
        async (parameter) =>
          [(parameter.origin as { path: string }).path, await evaluate(parameter, weights)] as const,
      ),
    );
    const expected = interpret(graph, { inputs, states, parameters: Object.fromEntries(stored) });
    const outputs = await loaded.call("gradients", { x: given(inputs.x), targets: given(inputs.targets) });
    expect(Number(outputs.loss!.data[0])).toBeCloseTo(expected.outputs.loss!.data[0]!, 5);
    for (const path of parameters) {
      const { data } = await loaded.readState(gradientName(path));
      const want = expected.states[gradientName(path)]!;
      expect(relativeL2({ ...want, data: data as Float32Array }, want), path).toBeLessThan(1e-4);
    }
    const missing = { ...options, weights: memorySource(new Map()), out: join(folder, "missing") };
    await expect(compileTraining(model, missing)).rejects.toMatchObject({ code: "MISSING_TENSOR" });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("activations are computed again where memory is short, unless that is refused", async () => {
  const blocks = [0, 1, 2, 3];
  const model = defineModel({
    name: "deep",
    inputs: { x: f32("batch", 16) },
    layers: { up: blocks.map(() => bitLinear(16, 64)), down: blocks.map(() => bitLinear(64, 16)) },
    forward: ({ x }, { up, down }) => ({
      y: blocks.reduce((h, i) => add(h, down[i]!(relu2(up[i]!(h)))), x),
    }),
  });
  const folder = await mkdtemp(join(tmpdir(), "bitloom-training-"));
  const options = {
    optimizer: adamW(),
    loss: (graph: Graph) => squaredErrorLoss(graph, { output: "y" }),
    symbols: { batch: { max: 2048 } },
    maxThreads: 1,
  };
  try {
    const [stored, again] = [join(folder, "stored"), join(folder, "again")];
    const plenty = await compileTraining(model, { ...options, out: stored });
    expect(plenty.recomputes).toBe(false);
    expect(plenty.targets[0]!.unchecked).toEqual([]);
    const maxMemory = Math.floor(0.9 * plenty.targets[0]!.memoryBytes);
    const little = await compileTraining(model, { ...options, out: again, maxMemory });
    expect(little.recomputes).toBe(true);
    expect(little.targets[0]!.memoryBytes).toBeLessThan(maxMemory + 65_536);

    const value = (dims: readonly number[], seed: number) => {
      const [rows, columns] = dims as [number, number];
      return {
        dims,
        data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 12.9898 + seed)),
      };
    };
    const gradients = async (out: string) => {
      const loaded = await load(out, { threads: 1 });
      for (const [i, { path, dims }] of model.parameters().entries())
        await loaded.writeState(path, value(dims, i));
      const { loss } = await loaded.call("gradients", { x: value([5, 16], 1), targets: value([5, 16], 2) });
      const names = model.parameters().map(({ path }) => gradientName(path));
      const all = await readStates(loaded, names);
      await loaded.dispose();
      return { loss, all };
    };
    expect(await gradients(again)).toEqual(await gradients(stored));

    const refused = (changed: Partial<CompileTrainingOptions>) =>
      expect(compileTraining(model, { ...options, out: join(folder, "none"), maxMemory, ...changed }))
        .rejects;
    await refused({ recompute: false }).toMatchObject({
      code: "LIMIT_EXCEEDED",
      hint: expect.stringMatching(/batch.*recompute/),
    });
    await refused({ maxMemory: 1 }).toMatchObject({
      code: "LIMIT_EXCEEDED",
      expected: expect.stringMatching(/`maxMemory` of \d+ bytes/),
      hint: expect.not.stringMatching(/recompute/),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
