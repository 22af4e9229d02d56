/** Training against the reference implementation's run: gradients, losses, gradient norms and weights. */
import { describe, expect, test } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { gradient, gradientName } from "../ir/passes/gradient.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../ir/tensor.ts";
import { memoryArtifact } from "./support/memory-artifact.ts";
import {
  expectNanoTraining,
  nanoBatch,
  nanoEntries,
  nanoGraph,
  nanoOptimizer,
  nanoSession,
  nanoTensors,
  nanoTraining,
  nanoTrainingGraph,
} from "./support/nano-train.ts";
import { type ArtifactCalls, runArtifact } from "./support/run-artifact.ts";
import { WasmProgram, type WasmTensors } from "./support/run-wasm.ts";
import { relativeL2 } from "./support/tolerance.ts";

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

  test("three steps of AdamW by the reference interpreter", async () => {
    const entries = await nanoEntries();
    const run = (entry: string, tensors: WasmTensors) =>
      interpret(entries[entry as keyof typeof entries], tensors);
    await expectNanoTraining(3, nanoSession(run));
  });

  test("twenty steps of AdamW on the WASM target", async () => {
    const program = await WasmProgram.compile(await nanoEntries());
    const run = (entry: string, tensors: WasmTensors) => program.run(entry, tensors, { threads: 2 });
    await expectNanoTraining(20, nanoSession(run));
  });

  test("steps from zero by the runtime on two threads, after its self-check", async () => {
    const graph = await nanoTrainingGraph(nanoOptimizer);
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
