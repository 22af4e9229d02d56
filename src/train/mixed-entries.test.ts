/** The entries of steps in which lambdas are below 1, as WebAssembly and as the interpreter computes them. */
import { beforeAll, describe, expect, test } from "vitest";
import { schedule } from "../../codegen/schedule/schedule.ts";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import type { MixOptions } from "../../ir/passes/mix-quantization.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { Random } from "../../test/support/random.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { bitLinear } from "../dsl/layers/bit-linear.ts";
import { linear } from "../dsl/layers/linear.ts";
import { defineModel } from "../dsl/model.ts";
import { f32 } from "../dsl/tensor.ts";
import { lossGraph, sgd, squaredErrorLoss, trainingEntries } from "./index.ts";

const model = defineModel({
  name: "mlp",
  inputs: { x: f32("batch", 20) },
  layers: {
    up: bitLinear(20, 16, { weightScale: "row" }),
    middle: bitLinear(16, 24, { groupSize: 5, bias: true, activation: null }),
    down: bitLinear(24, 7, { activation: { bits: 4, granularity: "tensor" } }),
    last: linear(7, 3),
  },
  forward: ({ x }, { up, middle, down, last }) => ({ y: last(down(middle(up(x)))) }),
});

/** Each layer in another way: mixed as a whole, in part, and not. */
const lambdas: NonNullable<MixOptions["lambdas"]> = (path) =>
  path === "up"
    ? { weights: "lambda", activations: "lambda" }
    : path === "middle"
      ? { weights: "other" }
      : {};

const ways: Readonly<Record<string, MixOptions>> = {
  clipped: { lambdas, noise: "gaussian", estimator: "clipped" },
  soft: { lambdas, noise: "uniform", estimator: { kind: "soft", temperature: 4 } },
};

const graph = lossGraph(model, {
  loss: (traced) => squaredErrorLoss(traced, { output: "y" }),
  symbols: { batch: { max: 8 } },
});
const entries = Object.fromEntries(
  Object.entries(ways).flatMap(([name, quantization]) => {
    const { gradients, mixed_gradients: mixed } = trainingEntries(graph, 1, {
      optimizer: sgd(),
      quantization,
    });
    return [
      [name, gradients],
      [`mixed ${name}`, mixed!],
    ] as const;
  }),
);

const random = new Random(7);
const floats = (...dims: number[]) =>
  tensor(
    "f32",
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.normal()),
  );
const states = Object.fromEntries(model.parameters().map(({ path, dims }) => [path, floats(...dims)]));
const batch = { x: floats(8, 20), targets: floats(8, 3) };

/** Inputs of an entry, of which it takes those it has. */
function inputsOf({ inputs }: Graph, lambda: number, other: number): Record<string, Tensor> {
  const length = Number(inputs.find(({ name }) => name === "noise_keys")?.type.dims[0] ?? 0);
  const keys = Array.from({ length }, () => random.int(-(2 ** 31), 2 ** 31 - 1));
  const all: Record<string, Tensor> = {
    ...batch,
    lambda: tensor("f32", [], [lambda]),
    other: tensor("f32", [], [other]),
    noise_keys: tensor("i32", [length], keys),
  };
  return Object.fromEntries(inputs.map(({ name }) => [name!, all[name!]!]));
}

let program: WasmProgram;
const lowered: Record<string, Graph> = {};
beforeAll(async () => {
  for (const [name, entry] of Object.entries(entries)) lowered[name] = runForwardPipeline(entry);
  program = await WasmProgram.compile(lowered);
}, 60_000);

function results(name: string, inputs: Record<string, Tensor>): Readonly<Record<string, Tensor>> {
  const given = { inputs, parameters: {}, states };
  const { outputs, states: next } = program.run(name, given);
  return { ...outputs, ...next };
}

describe.each(Object.keys(ways))("%s", (way) => {
  const entry = entries[`mixed ${way}`]!;

  test.each([
    [0, 1],
    [0.3, 0],
    [0.9375, 0.5],
  ])("gradients at lambda %f and %f are the interpreter's", (lambda, other) => {
    const inputs = inputsOf(entry, lambda, other);
    const received = results(`mixed ${way}`, inputs);
    const { outputs, states: next } = interpret(entry, { inputs, parameters: {}, states });
    for (const [name, want] of Object.entries({ ...outputs, ...next })) {
      expect(relativeL2(received[name]!, want), name).toBeLessThan(1e-4);
    }
  });

  test("at 1 they are those of whole quantization", () => {
    const mixed = results(`mixed ${way}`, inputsOf(entry, 1, 1));
    const whole = results(way, inputsOf(entries[way]!, 1, 1));
    expect(Object.keys(mixed)).toEqual(Object.keys(whole));
    for (const [name, want] of Object.entries(whole)) {
      expect(relativeL2(mixed[name]!, want), name).toBeLessThan(1e-4);
    }
  });
});

test.each(["wasm", "webgpu"] as const)(
  "codes are packed on %s only where a step reads them",
  async (target) => {
    const { clipped, "mixed clipped": mixed } = lowered;
    const plan = await schedule({ clipped: clipped!, mixed: mixed! }, { targets: [target], maxThreads: 1 });
    const packed = (entry: string) =>
      plan.targets[target]!.plans[entry]!.filter(({ kernel }) => kernel.startsWith("pack_ternary")).map(
        ({ label }) => label,
      );
    expect(packed("clipped")).toHaveLength(3);
    expect(packed("mixed")).toEqual([expect.stringContaining("down.weight")]);
  },
);
