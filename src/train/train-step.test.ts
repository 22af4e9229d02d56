import { describe, expect, test } from "vitest";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { verifyGraph } from "../../ir/verify.ts";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { add, relu2 } from "../dsl/index.ts";
import { bitLinear } from "../dsl/layers/bit-linear.ts";
import { linear } from "../dsl/layers/linear.ts";
import { defineModel } from "../dsl/model.ts";
import { f32 } from "../dsl/tensor.ts";
import { adamW, type Optimizer, sgd, squaredErrorLoss, trainingGraph, trainStep } from "./index.ts";

/** loss = sum(a * p^2) / 2, so the gradient by p is a * p. */
const quadratic = parseGraph(`graph @quadratic() {
  %a: input f32[3]
  %p: parameter "p" f32[3]
  %h: f32[] = constant() {value = 0.5, dtype = "f32"}
  %s: f32[3] = mul(%p, %p)
  %t: f32[3] = mul(%a, %s)
  %u: f32[] = sum(%t) {axis = 0, keep_dims = false}
  %loss: f32[] = mul(%u, %h)
  return loss = %loss
}`);
const a = [1, 0.5, -2];
const start = [3, -4, 0.25];

/** p after each step, and the last step's outputs. */
function train(optimizer: Optimizer, rates: readonly number[], clipNorm?: number) {
  const graph = trainStep(quadratic, { optimizer, ...(clipNorm !== undefined && { clipNorm }) });
  verifyGraph(graph);
  let states: Readonly<Record<string, Tensor>> = { p: tensor("f32", [3], start) };
  let norm = 0;
  for (const rate of rates) {
    const inputs = { a: tensor("f32", [3], a), learning_rate: tensor("f32", [], [rate]) };
    const result = interpret(graph, { inputs, parameters: {}, states });
    states = result.states;
    norm = result.outputs.gradient_norm!.data[0]!;
  }
  return { p: [...states.p!.data], norm, states };
}

function expectClose(received: readonly number[], expected: readonly number[]): void {
  for (const [i, want] of expected.entries()) expect(received[i]).toBeCloseTo(want, 5);
}

const rates = [0.1, 0.05, 0.2];

test("adamW is Adam with decoupled decay, its bias corrections 1 - beta^t", () => {
  const [b1, b2, eps, decay] = [0.9, 0.95, 1e-3, 0.1];
  const p = [...start];
  const [m, v] = [p.map(() => 0), p.map(() => 0)];
  for (const [t, rate] of rates.entries()) {
    for (let i = 0; i < 3; i++) {
      const g = a[i]! * p[i]!;
      m[i] = b1 * m[i]! + (1 - b1) * g;
      v[i] = b2 * v[i]! + (1 - b2) * g * g;
      const step = m[i]! / (1 - b1 ** (t + 1)) / (Math.sqrt(v[i]! / (1 - b2 ** (t + 1))) + eps);
      p[i] = p[i]! * (1 - rate * decay) - rate * step;
    }
  }
  const trained = train(adamW({ betas: [b1, b2], eps, weightDecay: decay }), rates);
  expectClose(trained.p, p);
  expect(Object.keys(trained.states).sort()).toEqual([
    "adamw.first_correction",
    "adamw.second_correction",
    "p",
    "p.first_moment",
    "p.second_moment",
  ]);
});

test.each<[string, (weightDecay: number) => Optimizer]>([
  ["adamW", (weightDecay) => adamW({ weightDecay })],
  ["sgd", (weightDecay) => sgd({ weightDecay })],
])("a share scales the decay of %s in each step", (_, optimizerOf) => {
  const share = tensor("f32", [], [0.25]);
  const scheduled = trainStep(quadratic, { optimizer: optimizerOf(0.2), scheduledDecay: true });
  verifyGraph(scheduled);
  const states = { p: tensor("f32", [3], start) };
  const inputs = { a: tensor("f32", [3], a), learning_rate: tensor("f32", [], [0.1]) };
  const { states: received } = interpret(scheduled, {
    inputs: { ...inputs, decay_share: share },
    parameters: {},
    states,
  });
  expect([...received.p!.data]).toEqual(train(optimizerOf(0.05), [0.1]).p);
});

test.each([false, true])("sgd keeps momentum, nesterov %s", (nesterov) => {
  const [momentum, decay] = [0.8, 0.1];
  const p = [...start];
  const buffer = p.map(() => 0);
  for (const rate of rates) {
    for (let i = 0; i < 3; i++) {
      const g = a[i]! * p[i]! + decay * p[i]!;
      buffer[i] = momentum * buffer[i]! + g;
      p[i] = p[i]! - rate * (nesterov ? g + momentum * buffer[i]! : buffer[i]!);
    }
  }
  expectClose(train(sgd({ momentum, nesterov, weightDecay: decay }), rates).p, p);
});

test("plain sgd has no state but the parameters, and decay can be chosen by path", () => {
  const { p, states } = train(sgd({ weightDecay: (path) => (path === "p" ? 0.5 : 9) }), [0.1]);
  expectClose(
    p,
    start.map((x, i) => x - 0.1 * (a[i]! * x + 0.5 * x)),
  );
  expect(Object.keys(states)).toEqual(["p"]);
});

test("gradients are clipped by their common norm, which is told before clipping", () => {
  const gradient = start.map((x, i) => a[i]! * x);
  const norm = Math.hypot(...gradient);
  const clipped = train(sgd(), [1], 0.5);
  expect(clipped.norm).toBeCloseTo(norm, 5);
  expectClose(
    clipped.p,
    start.map((x, i) => x - (gradient[i]! * 0.5) / norm),
  );
  expectClose(train(sgd(), [1], 100).p, train(sgd(), [1]).p);
});

test("a parameter that is not trained stays one", () => {
  const graph = trainStep(
    parseGraph(`graph @two() {
      %p: parameter "p" f32[2]
      %q: parameter "q" f32[2]
      %m: f32[2] = mul(%p, %q)
      %loss: f32[] = sum(%m) {axis = 0, keep_dims = false}
      return loss = %loss
    }`),
    { optimizer: sgd(), parameters: ["p"] },
  );
  verifyGraph(graph);
  expect(graph.parameters.map(({ name }) => name)).toEqual(["q"]);
  expect(graph.states.map(({ value }) => value.name)).toEqual(["p"]);
});

test("a name that is taken is refused", () => {
  const graph = parseGraph(`graph @taken() {
    %p: parameter "p" f32[2]
    %s: state "p.momentum" f32[2]
    %m: f32[2] = mul(%p, %s)
    %loss: f32[] = sum(%m) {axis = 0, keep_dims = false}
    next %s = %m
    return loss = %loss
  }`);
  expect(() => trainStep(graph, { optimizer: sgd({ momentum: 0.9 }) })).toThrow(
    expect.objectContaining({ code: "INVALID_GRAPH", message: expect.stringContaining("p.momentum") }),
  );
});

test.each([
  ["betas", () => adamW({ betas: [0.9, 1] })],
  ["eps", () => adamW({ eps: 0 })],
  ["momentum", () => sgd({ momentum: -0.1 })],
  ["weightDecay", () => trainStep(quadratic, { optimizer: adamW({ weightDecay: Number.NaN }) })],
  ["clipNorm", () => trainStep(quadratic, { optimizer: sgd(), clipNorm: 0 })],
])("%s out of range is refused", (option, make) => {
  expect(make).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining(option) }),
  );
});

test("a model without trainable parameters is refused", () => {
  const graph = parseGraph(`graph @fixed() {
    %x: input f32[]
    return loss = %x
  }`);
  expect(() => trainStep(graph, { optimizer: sgd() })).toThrow(
    expect.objectContaining({ code: "INVALID_GRAPH", message: expect.stringContaining("nothing to train") }),
  );
});

describe("a described model", () => {
  const model = defineModel({
    name: "mlp",
    inputs: { x: f32("batch", 6) },
    layers: { up: bitLinear(6, 16), down: linear(16, 2, { bias: true }) },
    forward: ({ x }, { up, down }) => ({ y: down(up(x)) }),
  });

  test("learns to add and to subtract", () => {
    const graph = trainingGraph(model, {
      optimizer: adamW({ weightDecay: 0 }),
      loss: (traced) => squaredErrorLoss(traced, { output: "y" }),
      symbols: { batch: { max: 16 } },
      verify: true,
    });
    const value = (i: number) => Math.sin(i * 12.9898) * 1.5;
    const x = tensor(
      "f32",
      [16, 6],
      Float32Array.from({ length: 96 }, (_, i) => value(i)),
    );
    const targets = tensor(
      "f32",
      [16, 2],
      Float32Array.from({ length: 32 }, (_, i) => {
        const row = Math.floor(i / 2) * 6;
        return x.data[row]! + (i % 2 === 0 ? 1 : -1) * x.data[row + 1]!;
      }),
    );
    const random = (dims: number[], seed: number) =>
      tensor(
        "f32",
        dims,
        Float32Array.from({ length: dims.reduce((p, d) => p * d) }, (_, i) => value(i + seed) / 3),
      );
    let states: Readonly<Record<string, Tensor>> = {
      "up.weight": random([16, 6], 500),
      "down.weight": random([2, 16], 900),
    };
    const losses: number[] = [];
    for (let step = 0; step < 60; step++) {
      const inputs = { x, targets, learning_rate: tensor("f32", [], [0.03]) };
      const result = interpret(graph, { inputs, parameters: {}, states });
      states = result.states;
      losses.push(result.outputs.loss!.data[0]!);
    }
    expect(losses.at(-1)).toBeLessThan(0.05 * losses[0]!);
  });
});

test("a step that computes activations again has less than half of the temporaries in a model of ten blocks", async () => {
  const blocks = Array.from({ length: 10 }, (_, i) => i);
  const model = defineModel({
    name: "deep",
    inputs: { x: f32("batch", 16) },
    layers: {
      up: blocks.map(() => bitLinear(16, 64)),
      down: blocks.map(() => bitLinear(64, 16)),
    },
    forward: ({ x }, { up, down }) => ({
      y: blocks.reduce((h, i) => add(h, down[i]!(relu2(up[i]!(h)))), x),
    }),
  });
  const graphOf = (recompute: boolean) =>
    trainingGraph(model, {
      optimizer: sgd(),
      recompute,
      loss: (traced) => squaredErrorLoss(traced, { output: "y" }),
      symbols: { batch: { max: 4096 } },
    });
  const [stored, again] = [graphOf(false), graphOf(true)];
  const plan = await schedule({ stored, again }, { targets: ["wasm"], maxThreads: 1 });
  const { summaries } = plan.targets.wasm!;
  expect(summaries.again!.arena.bytes).toBeLessThan(summaries.stored!.arena.bytes / 2);
  const run = (graph: typeof stored) => {
    const { symbols, ...tensors } = randomTensors(graph, new Random(1), { batch: 3 });
    return interpret(graph, { ...tensors, symbols: Object.fromEntries(symbols) });
  };
  expect(run(again)).toEqual(run(stored));
});
