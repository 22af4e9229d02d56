/** Training against the reference implementation's run: gradients, losses, gradient norms and weights. */
import { describe, expect, test } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { gradient, gradientName } from "../ir/passes/gradient.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { nanoBatch, nanoGraph, nanoTensors, nanoTraining } from "./support/nano-train.ts";
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
});
