import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { gradientName } from "../../ir/passes/gradient.ts";
import { abortError } from "../../runtime/abort.ts";
import { load, type Model } from "../../runtime/index.ts";
import {
  type Evaluation,
  firstParameters,
  modelFiles,
  readStates,
  type Tensors,
  type TrainedStep,
  Trainer,
  type TrainingProgress,
  type TrainingRecipe,
  writeStates,
} from "../../runtime/training/index.ts";
import { compileTraining, lowerTheStep } from "./compile-training.ts";
import { lossChart } from "./loss-chart.ts";
import { firstNonFinite } from "./non-finite.ts";
import { recipeOf } from "./recipe.ts";
import { readTensors, writeTensors } from "./tensor-file.ts";
import { readText, type TextData } from "./text-data.ts";
import { lossGraph, trainingEntries } from "./train-step.ts";
import type { Training } from "./training.ts";
import { writeWhole } from "./whole-file.ts";

const CHECKPOINT = "checkpoint.safetensors";

export interface TrainOptions {
  /** The folder of the run: `checkpoint.safetensors`, `loss.svg`, and the trained model in `model`. */
  readonly out: string;
  /** What the training's paths are relative to. Default: the working folder. */
  readonly base?: string;
  /** Go on from the checkpoint in `out`. Default false: a checkpoint there is an error. */
  readonly resume?: boolean;
  /** Default: one for each core. */
  readonly threads?: number;
  /** Ends the run after the step it is at, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onStep?: (step: TrainedStep) => void;
  readonly onEvaluation?: (evaluation: Evaluation) => void;
}

export interface TrainReport {
  /** The folder of the trained model, as `bitloom build` reads it. */
  readonly model: string;
  readonly parameters: number;
  readonly losses: readonly number[];
  readonly evaluations: readonly Evaluation[];
}

/**
 * Trains a language model on text. Equal trainings give equal weights, bit for bit, interrupted or not.
 * @throws BitloomError of the model, the text and the options; WRITE_FAILED for a run that is there and not resumed;
 *   LIMIT_EXCEEDED and OUT_OF_MEMORY, which say what to lower; TRAINING_DIVERGED with the step and the first operation
 *   whose result is no number; ABORTED once the checkpoint is written
 */
export async function train(training: Training, options: TrainOptions): Promise<TrainReport> {
  const { out, base = ".", resume = false, signal } = options;
  const checkpoint = join(out, CHECKPOINT);
  if (!resume && existsSync(checkpoint)) {
    throw new BitloomError("WRITE_FAILED", `${out} holds a run already`, {
      hint: "Resume it (--resume), or choose another folder.",
    });
  }
  const recipe = recipeOf(training);
  const data = await readText(training, recipe, base);
  const run = resume ? await readRun(checkpoint, identity(recipe, data)) : newRun(recipe);
  const folder = await mkdtemp(join(tmpdir(), "bitloom-train-"));
  try {
    await compileTraining(training.model, {
      out: join(folder, "step"),
      optimizer: training.optimizer,
      symbols: symbolsOf(training),
      accumulation: training.accumulation,
      ...(training.clipNorm !== undefined && { clipNorm: training.clipNorm }),
      ...(signal && { signal }),
    });
    const { threads = Math.min(availableParallelism(), 32) } = options;
    const model = await load(join(folder, "step"), { device: "wasm", threads, signal }).catch(lowerTheStep);
    try {
      return await runOn(model, training, recipe, data, run, options);
    } finally {
      await model.dispose();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runOn(
  model: Model,
  training: Training,
  recipe: TrainingRecipe,
  data: TextData,
  run: Run,
  { out, signal, onStep, onEvaluation }: TrainOptions,
): Promise<TrainReport> {
  const { steps, checkpointEvery } = training;
  await writeStates(model, run.states);
  const trainer = new Trainer(model, recipe, data, {
    progress: run,
    findNonFinite: (inputs) => firstNonFinite(gradientsOf(training), model, inputs),
  });
  for await (const trained of trainer.run()) {
    const { step, heldOutLoss } = trained;
    onStep?.(trained);
    if (heldOutLoss !== undefined) onEvaluation?.({ step, loss: heldOutLoss });
    if (step % checkpointEvery === 0 || step === steps || signal?.aborted) {
      const states = await readStates(model, keptStates(recipe, model));
      await saveRun(out, recipe, data, { states, ...trainer.progress });
    }
    if (signal?.aborted && step < steps) throw abortError(signal);
  }
  const paths = recipe.parameters.map(({ path }) => path);
  const weights = await readStates(model, paths);
  const saved = join(out, "model");
  for (const [name, pieces] of modelFiles(weights, recipe, data.files)) {
    await writeWhole(join(saved, name), pieces);
  }
  const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  return { model: saved, parameters, ...trainer.progress };
}

/** A run between two steps. */
interface Run extends TrainingProgress {
  /** What the device has: parameters, and what the optimizer keeps. Absent states are zero. */
  readonly states: Tensors;
}

function newRun(recipe: TrainingRecipe): Run {
  return { states: firstParameters(recipe), losses: [], evaluations: [] };
}

/** Everything but gradients, which each step makes anew. */
function keptStates({ parameters }: TrainingRecipe, { manifest }: Model): readonly string[] {
  const gradients = new Set(parameters.map(({ path }) => gradientName(path)));
  return manifest.states!.map(({ name }) => name).filter((name) => !gradients.has(name));
}

const symbolsOf = ({ batch, sequence }: Training) => ({ batch: { max: batch }, seq: { max: sequence } });

/** What computes loss and gradients in a step's first call, before it is lowered. */
function gradientsOf(training: Training): Graph {
  const graph = lossGraph(training.model, { symbols: symbolsOf(training) });
  return trainingEntries(graph, 1, { optimizer: training.optimizer }).gradients;
}

/** What may not change between the parts of one run. */
function identity(recipe: TrainingRecipe, { digest }: TextData): string {
  const { batch, sequence, accumulation, seed, steps } = recipe;
  const parameters = recipe.parameters.map(({ path, dims }) => [path, dims]);
  const text = JSON.stringify([parameters, batch, sequence, accumulation, seed, steps, digest]);
  return createHash("sha256").update(text).digest("hex");
}

/** Writes the checkpoint and the curve. @throws BitloomError WRITE_FAILED */
async function saveRun(
  out: string,
  recipe: TrainingRecipe,
  data: TextData,
  { states, losses, evaluations }: Run,
): Promise<void> {
  const progress = JSON.stringify({ identity: identity(recipe, data), losses, evaluations });
  await writeTensors(join(out, CHECKPOINT), states, { progress });
  const { name } = recipe;
  await writeWhole(join(out, "loss.svg"), [lossChart(name, [{ name, losses, evaluations }])]);
}

const progressSchema = z.object({
  identity: z.string(),
  losses: z.array(z.number()),
  evaluations: z.array(z.object({ step: z.number(), loss: z.number() })),
});

/** @throws BitloomError MISSING_FILE, CORRUPT_FILE, INVALID_OPTION for another training's checkpoint */
async function readRun(path: string, expected: string): Promise<Run> {
  const { tensors, metadata } = await readTensors(path);
  let progress: z.infer<typeof progressSchema>;
  try {
    progress = progressSchema.parse(JSON.parse(metadata.get("progress") ?? ""));
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", `${path} is no checkpoint of a training`, { cause });
  }
  if (progress.identity !== expected) {
    throw new BitloomError("INVALID_OPTION", `${path} is a checkpoint of another training`, {
      expected: "the same model, text, seed, steps, batch, sequence and accumulation",
      hint: "Put the training back as it was, or choose another folder.",
    });
  }
  return { states: tensors, losses: progress.losses, evaluations: progress.evaluations };
}
