/** The training run that the reference implementation made, and the model's graph with its loss. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Graph } from "../../ir/graph.ts";
import { wholeSequences } from "../../ir/passes/whole-sequences.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { openCheckpoint } from "../../src/checkpoint/huggingface.ts";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { languageModel } from "../../src/dsl/families/index.ts";
import { crossEntropyLoss, type Optimizer, trainingGraph } from "../../src/train/index.ts";

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
