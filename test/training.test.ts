/** Training against the reference implementation's run: gradients, losses, gradient norms and weights. */
import { describe, expect, test } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { gradient, gradientName } from "../ir/passes/gradient.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { type Tensor, tensor } from "../ir/tensor.ts";
import { adamW } from "../src/train/index.ts";
import { nanoBatch, nanoGraph, nanoTensors, nanoTraining, nanoTrainingGraph } from "./support/nano-train.ts";
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

  test("twenty steps of AdamW", async () => {
    const { lr, betas, eps, weight_decay: weightDecay } = nanoTraining.optimizer;
    const graph = await nanoTrainingGraph(adamW({ betas, eps, weightDecay }));
    let states: Readonly<Record<string, Tensor>> = await nanoTensors("model");
    const learning_rate = tensor("f32", [], [lr]);
    for (const [step, loss] of nanoTraining.losses.entries()) {
      const inputs = { ...nanoBatch(step), learning_rate };
      const result = interpret(graph, { inputs, parameters: {}, states });
      states = result.states;
      expect(Math.abs(result.outputs.loss!.data[0]! / loss - 1), `loss of step ${step}`).toBeLessThan(1e-3);
      const norm = result.outputs.gradient_norm!.data[0]! / nanoTraining.grad_norms[step]!;
      expect(Math.abs(norm - 1), `gradient norm of step ${step}`).toBeLessThan(1e-2);
    }
    for (const [path, want] of Object.entries(await nanoTensors("final"))) {
      expect(relativeL2(states[path]!, want), path).toBeLessThan(1e-2);
    }
  });
});
