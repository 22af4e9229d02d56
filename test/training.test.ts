/** Training against the reference implementation's run: gradients, losses, gradient norms and weights. */
import { describe, expect, test } from "vitest";
import { type InterpretResult, interpret } from "../ir/interpret.ts";
import { gradient, gradientName } from "../ir/passes/gradient.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../ir/tensor.ts";
import { adamW } from "../src/train/index.ts";
import { memoryArtifact } from "./support/memory-artifact.ts";
import { nanoBatch, nanoGraph, nanoTensors, nanoTraining, nanoTrainingGraph } from "./support/nano-train.ts";
import { type ArtifactCalls, runArtifact } from "./support/run-artifact.ts";
import { WasmProgram, type WasmTensors } from "./support/run-wasm.ts";
import { relativeL2 } from "./support/tolerance.ts";

type Run = (tensors: WasmTensors) => InterpretResult;

describe("the reference implementation's training run", () => {
  test("gradients of the first step", async () => {
    const graph = runForwardPipeline(gradient(await nanoGraph(), { loss: "loss" }), { verify: true });
    const parameters = await nanoTensors("model");
    const { outputs } = interpret(graph, { inputs: nanoBatch(0), parameters });
    expect(outputs.loss!.data[0]).toBeCloseTo(nanoTraining.losses[0]!, 5);
    for (const [path, want] of Object.entries(await nanoTensors("grads_step0"))) {
      expect(relativeL2(outputs[gradientName(path)]!, want), path).toBeLessThan(1e-5);
    }
  });

  test("gradients of the first step on the WASM target", async () => {
    const graph = runForwardPipeline(gradient(await nanoGraph(), { loss: "loss" }));
    const program = await WasmProgram.compile({ run: graph });
    const { outputs } = program.run("run", { inputs: nanoBatch(0), parameters: await nanoTensors("model") });
    for (const [path, want] of Object.entries(await nanoTensors("grads_step0"))) {
      expect(relativeL2(outputs[gradientName(path)]!, want), path).toBeLessThan(1e-4);
    }
  });

  /** Runs the first steps of the run and compares each loss and gradient norm; gives the states in the end. */
  async function train(steps: number, run: Run): Promise<Readonly<Record<string, Tensor>>> {
    let states: Readonly<Record<string, Tensor>> = await nanoTensors("model");
    const learning_rate = tensor("f32", [], [nanoTraining.optimizer.lr]);
    for (const [step, loss] of nanoTraining.losses.slice(0, steps).entries()) {
      const result = run({ inputs: { ...nanoBatch(step), learning_rate }, parameters: {}, states });
      states = result.states;
      expect(Math.abs(result.outputs.loss!.data[0]! / loss - 1), `loss of step ${step}`).toBeLessThan(1e-3);
      const norm = result.outputs.gradient_norm!.data[0]! / nanoTraining.grad_norms[step]!;
      // Rounding in one step flips codes in the next ones, so that runs part: at first slowly.
      expect(Math.abs(norm - 1), `gradient norm of step ${step}`).toBeLessThan(step < 5 ? 1e-3 : 5e-2);
    }
    return states;
  }

  const { betas, eps, weight_decay: weightDecay } = nanoTraining.optimizer;
  const optimizer = adamW({ betas, eps, weightDecay });

  test("three steps of AdamW by the reference interpreter", async () => {
    const graph = await nanoTrainingGraph(optimizer);
    await train(3, (tensors) => interpret(graph, tensors));
  });

  test("twenty steps of AdamW on the WASM target", async () => {
    const program = await WasmProgram.compile({ run: await nanoTrainingGraph(optimizer) });
    const states = await train(20, (tensors) => program.run("run", tensors, { threads: 2 }));
    for (const [path, want] of Object.entries(await nanoTensors("final"))) {
      expect(relativeL2(states[path]!, want), path).toBeLessThan(1e-2);
    }
  });

  test("steps from zero by the runtime on two threads, after its self-check", async () => {
    const graph = await nanoTrainingGraph(optimizer);
    const program = await WasmProgram.compile({ run: graph });
    const learning_rate = tensor("f32", [], [nanoTraining.optimizer.lr]);
    const batches = [0, 1].map((step) => ({ ...nanoBatch(step), learning_rate }));
    const calls = batches.map((inputs) =>
      Object.fromEntries(
        Object.entries(inputs).map(([name, { data, type }]) => [name, { data, dims: type.dims }]),
      ),
    ) as ArtifactCalls["calls"];
    const files = await memoryArtifact({ run: graph }, {}, 2);
    const received = await runArtifact({ files, calls, threads: 2 });
    let states: Readonly<Record<string, Tensor>> = {};
    for (const [step, inputs] of batches.entries()) {
      const expected = program.run("run", { inputs, parameters: {}, states });
      states = expected.states;
      expect(received.calls[step]!.loss![0], `step ${step}`).toBe(expected.outputs.loss!.data[0]);
    }
  });
});
