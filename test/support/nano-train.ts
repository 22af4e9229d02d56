/** The training run that the reference implementation made, and the model's graph with its loss. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import type { InterpretResult } from "../../ir/interpret.ts";
import { gradientName } from "../../ir/passes/gradient.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { wholeSequences } from "../../ir/passes/whole-sequences.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import type { Model, TensorInput } from "../../runtime/index.ts";
import { openCheckpoint } from "../../src/checkpoint/huggingface.ts";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { languageModel } from "../../src/dsl/families/index.ts";
import {
  adamW,
  crossEntropyLoss,
  lossGraph,
  type Optimizer,
  trainingEntries,
  trainingGraph,
} from "../../src/train/index.ts";
import type { WasmTensors } from "./run-wasm.ts";
import { relativeL2 } from "./tolerance.ts";

const folder = fileURLToPath(new URL("../goldens/bitnet-nano-train", import.meta.url));

export interface NanoTraining {
  readonly optimizer: {
    readonly lr: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
  };
  /** Step, sequence, byte; targets are the inputs shifted by one. */
  readonly batches: readonly (readonly (readonly number[])[])[];
  readonly losses: readonly number[];
  readonly grad_norms: readonly number[];
}

export const nanoTraining: NanoTraining = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8"));

const symbols = { batch: { max: 4 }, seq: { max: 32 } };

export async function nanoModel() {
  const { config, source } = await openCheckpoint(folder);
  await source.close();
  return languageModel(config);
}

/** Tokens and targets in, `loss` out; parameters by the names of the checkpoint. */
export async function nanoGraph(): Promise<Graph> {
  return crossEntropyLoss(wholeSequences.run((await nanoModel()).trace({ symbols })));
}

/** A step of the run, with parameters as states. */
export async function nanoTrainingGraph(optimizer: Optimizer): Promise<Graph> {
  return trainingGraph(await nanoModel(), { optimizer, symbols, verify: true });
}

const { betas, eps, weight_decay: weightDecay, lr } = nanoTraining.optimizer;
export const nanoOptimizer: Optimizer = adamW({ betas, eps, weightDecay });

/** A step of the run in two entries, lowered: `gradients` and `update`. */
export async function nanoEntries(): Promise<Readonly<Record<"gradients" | "update", Graph>>> {
  const graph = lossGraph(await nanoModel(), { symbols });
  const { gradients, update } = trainingEntries(graph, 1, { optimizer: nanoOptimizer });
  return { gradients: runForwardPipeline(gradients), update: runForwardPipeline(update) };
}

/** A model whose entries are those of `nanoEntries`, as the runtime has one. */
export type NanoSession = Pick<Model, "call" | "readState" | "writeState">;

/** Such a model that keeps its states between calls of what computes an entry from given ones. */
export function nanoSession(
  run: (entry: string, tensors: WasmTensors) => InterpretResult | Promise<InterpretResult>,
): NanoSession {
  let states: Readonly<Record<string, Tensor>> = {};
  const given = (value: TensorInput) => {
    const { data, dims } = value as { readonly data: Float32Array | Int32Array; readonly dims: number[] };
    return tensor(data instanceof Int32Array ? "i32" : "f32", dims, data);
  };
  return {
    async call(entry, inputs) {
      const tensors = Object.entries(inputs).map(([name, value]) => [name, given(value)] as const);
      const result = await run(entry, { inputs: Object.fromEntries(tensors), parameters: {}, states });
      states = { ...states, ...result.states };
      return Object.fromEntries(Object.entries(result.outputs).map(([name, value]) => [name, plain(value)]));
    },
    readState: async (name) => plain(states[name]!),
    async writeState(name, value) {
      states = { ...states, [name]: given(value) };
    },
  };
}

/** A tensor as calls take and give it. */
const plain = ({ data, type }: Tensor) => ({
  data: data as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>,
  dims: type.dims as readonly number[],
});

/**
 * Runs the first steps of the run. Fails unless the gradients of the first, every loss and gradient norm, and after the
 * twentieth the weights are the reference implementation's.
 */
export async function expectNanoTraining(steps: number, model: NanoSession): Promise<void> {
  const distance = async (name: string, want: Tensor) => {
    const { data } = await model.readState(name);
    return relativeL2({ ...want, data: data as Float32Array }, want);
  };
  for (const [path, value] of Object.entries(await nanoTensors("model"))) {
    await model.writeState(path, plain(value));
  }
  const learning_rate = { data: Float32Array.of(lr), dims: [] };
  for (const [step, loss] of nanoTraining.losses.slice(0, steps).entries()) {
    const { tokens, targets } = nanoBatch(step);
    const outputs = await model.call("gradients", { tokens: plain(tokens!), targets: plain(targets!) });
    expect(Math.abs(Number(outputs.loss!.data[0]) / loss - 1), `loss of step ${step}`).toBeLessThan(1e-3);
    const norm = Number(outputs.gradient_norm!.data[0]) / nanoTraining.grad_norms[step]!;
    // Rounding in one step flips codes in the next ones, so that runs part: at first slowly.
    expect(Math.abs(norm - 1), `gradient norm of step ${step}`).toBeLessThan(step < 5 ? 1e-3 : 5e-2);
    if (step === 0) {
      for (const [path, want] of Object.entries(await nanoTensors("grads_step0"))) {
        expect(await distance(gradientName(path), want), path).toBeLessThan(1e-3);
      }
    }
    await model.call("update", { learning_rate });
  }
  if (steps < nanoTraining.losses.length) return;
  for (const [path, want] of Object.entries(await nanoTensors("final"))) {
    expect(await distance(path, want), path).toBeLessThan(1e-2);
  }
}

/** The inputs of a step. */
export function nanoBatch(step: number): Record<string, Tensor> {
  const batch = nanoTraining.batches[step]!;
  const [rows, length] = [batch.length, batch[0]!.length - 1];
  const part = (begin: number) =>
    tensor(
      "i32",
      [rows, length],
      batch.flatMap((bytes) => bytes.slice(begin, begin + length)),
    );
  return { tokens: part(0), targets: part(1) };
}

/** All tensors of one of the run's files. */
export async function nanoTensors(
  name: "model" | "grads_step0" | "final",
): Promise<Readonly<Record<string, Tensor>>> {
  const file = await openSafetensors(`${folder}/${name}.safetensors`);
  const tensors: Record<string, Tensor> = {};
  for (const stored of file.tensors.values()) {
    const data = new Float32Array(stored.bytes / 4);
    await file.read(stored, 0, new Uint8Array(data.buffer));
    tensors[stored.name] = { type: { dtype: "f32", dims: stored.shape }, data };
  }
  await file.close();
  return tensors;
}
