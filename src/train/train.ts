import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import type { Graph } from "../../ir/graph.ts";
import { gradientName } from "../../ir/passes/gradient.ts";
import { printGraph } from "../../ir/text/print.ts";
import { abortError } from "../../runtime/abort.ts";
import type { LoadOptions, Model } from "../../runtime/index.ts";
import type { TensorInputs } from "../../runtime/session.ts";
import {
  type Evaluation,
  readStates,
  type Tensors,
  type TrainedStep,
  Trainer,
  type TrainingProgress,
  type TrainingRecipe,
  writeStates,
} from "../../runtime/training/index.ts";
import { type FilePieces, modelFiles } from "../../runtime/training/model-files.ts";
import { memorySource } from "../checkpoint/source.ts";
import { requirePath } from "../dsl/options.ts";
import { withFolder } from "../files/claim.ts";
import { withTemporaryFolder } from "../files/temporary.ts";
import { requireWritable, writeWhole } from "../files/whole-file.ts";
import { adapterFiles } from "../quantize/adapter.ts";
import { onlyCorrections } from "../quantize/trainable.ts";
import { setCurrentLambda } from "./lambda.ts";
import { lossChart } from "./loss-chart.ts";
import { firstNonFinite } from "./non-finite.ts";
import { type CompiledStep, openStep } from "./open-step.ts";
import { recipeOf } from "./recipe.ts";
import { countOf, floatsOf, openStart, stepOf, type TrainingStart } from "./start.ts";
import { readTensors, writeTensors } from "./tensor-file.ts";
import { readText, type TextData } from "./text-data.ts";
import { lossGraph, stepOptions, type TrainingEntries, trainingEntries } from "./train-step.ts";
import type { Training } from "./training.ts";
import { defaultWarning, type OnTrainingWarning } from "./warning.ts";

const CHECKPOINT = "checkpoint.safetensors";

export interface TrainOptions {
  /**
   * The folder of the run: `checkpoint.safetensors`, `loss.svg`, the trained model in `model`, and in `adapter` the
   * corrections where nothing else was trained.
   */
  readonly out: string;
  /** What the training's paths are relative to. Default: the working folder. */
  readonly base?: string;
  /** Go on from the checkpoint in `out`. Default false: a checkpoint there is an error. */
  readonly resume?: boolean;
  /**
   * What computes the steps. "auto" takes the fastest that this machine has and that can: CUDA, WebGPU on a GPU that is no
   * software, WebAssembly. Default "wasm", whose weights are the same on every machine; a GPU's are the same on that GPU.
   * A run that is resumed stays on its device, which "auto" takes.
   */
  readonly device?: LoadOptions["device"];
  /** Of WebAssembly. Default: one for each core. */
  readonly threads?: number;
  /** Ends the run after the step it is at, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onCompiled?: (step: CompiledStep) => void;
  /** The step is loaded: from here on, `signal` ends the run with a checkpoint. */
  readonly onOpened?: () => void;
  readonly onStep?: (step: TrainedStep) => void;
  readonly onEvaluation?: (evaluation: Evaluation) => void;
  /** Told of what the run goes without, and of what may not be meant. Default: `console.warn`. */
  readonly onWarning?: OnTrainingWarning;
}

export interface TrainReport {
  /** What computed the steps: `WebAssembly, relaxed SIMD, 4 threads`. */
  readonly device: string;
  /** The folder of the trained model, as `bitloom build` reads it. */
  readonly model: string;
  /** The folder of the adapter, where nothing but corrections was trained. */
  readonly adapter?: string;
  readonly parameters: number;
  /** How many of them were trained. */
  readonly trained: number;
  readonly losses: readonly number[];
  readonly evaluations: readonly Evaluation[];
}

/**
 * Trains a language model on text. Equal trainings give equal weights, bit for bit, interrupted or not.
 * @throws BitloomError of the model, its first weights, the text and the options; WRITE_FAILED for a run that is there
 *   and not resumed; LIMIT_EXCEEDED and OUT_OF_MEMORY, which say what to lower; TRAINING_DIVERGED with the step and the
 *   first operation whose result is no number; ABORTED once the checkpoint is written
 */
export async function train(training: Training, options: TrainOptions): Promise<TrainReport> {
  const { out, base = ".", resume = false, onWarning = defaultWarning } = options;
  requirePath("out", out);
  const checkpoint = join(out, CHECKPOINT);
  if (!resume && existsSync(checkpoint)) {
    throw new BitloomError("WRITE_FAILED", `${out} holds a run already`, {
      hint: "Resume it (--resume), or choose another folder.",
    });
  }
  if (resume && !existsSync(checkpoint)) {
    throw new BitloomError("MISSING_FILE", `${out} holds no run to go on with`, {
      expected: checkpoint,
      hint: "Leave out --resume to begin one.",
    });
  }
  const start = await openStart(training, base);
  try {
    for (const warning of start.warnings) onWarning(warning);
    const recipe = recipeOf(training, start);
    const data = await readText({ ...start, text: training.text }, recipe, base);
    const entries = entriesOf(training, start);
    const identity = identityOf(recipe, data, start, entries);
    const { device } = options;
    await requireWritable(out);
    return await withFolder(out, async () => {
      const run = resume ? await readRun(checkpoint, { identity, device }) : await newRun(start, identity);
      // The artifact may be as large as the weights, and once it is loaded nothing reads it.
      const model = await withTemporaryFolder("bitloom-train", (folder) =>
        openStep(start.model, stepOf(training, start), { ...options, device: run.device ?? device, folder }),
      );
      try {
        options.onOpened?.();
        return await runOn(model, training, start, recipe, data, entries, run, options);
      } finally {
        await model.dispose();
      }
    });
  } finally {
    await start.weights.close();
  }
}

async function runOn(
  model: Model,
  training: Training,
  start: TrainingStart,
  recipe: TrainingRecipe,
  data: TextData,
  entries: TrainingEntries,
  run: Run,
  { out, signal, onStep, onEvaluation }: TrainOptions,
): Promise<TrainReport> {
  const { steps, checkpointEvery } = training;
  const { weights } = start;
  await writeStates(model, run.states);
  const trainer = new Trainer(model, recipe, data, {
    progress: run,
    findNonFinite: (inputs) =>
      firstNonFinite(gradientsFrom(entries, inputs), { states: model, weights, inputs }),
  });
  const before = await trainer.evaluate();
  if (before !== undefined) onEvaluation?.(before);
  for await (const trained of trainer.run()) {
    const { step, heldOutLoss, lambda } = trained;
    setCurrentLambda(lambda);
    onStep?.(trained);
    if (heldOutLoss !== undefined) onEvaluation?.({ step, loss: heldOutLoss });
    if (step % checkpointEvery === 0 || step === steps || signal?.aborted) {
      const states = await readStates(model, keptStates(recipe, model));
      const { identity } = run;
      await saveRun(out, recipe.name, { states, identity, device: model.device.name, ...trainer.progress });
    }
    if (signal?.aborted && step < steps) throw abortError(signal);
  }
  const parameters = await finalParameters(start, model);
  const saved = await writeFolder(join(out, "model"), modelFiles(parameters, recipe, data.files));
  const isAdapter = start.trained.every(onlyCorrections);
  const adapter = isAdapter
    ? await adapterFiles(start.model, memorySource(parameters), training.weights ?? null)
    : undefined;
  return {
    device: model.device.description,
    model: saved,
    ...(adapter && { adapter: await writeFolder(join(out, "adapter"), adapter) }),
    parameters: countOf(start.model.parameters()),
    trained: countOf(start.trained),
    ...trainer.progress,
  };
}

async function writeFolder(folder: string, files: ReadonlyMap<string, FilePieces>): Promise<string> {
  for (const [name, pieces] of files) await writeWhole(join(folder, name), pieces);
  return folder;
}

/** The trained parameters as the device has them, and the frozen ones as they were. */
async function finalParameters({ model, weights, trained }: TrainingStart, device: Model): Promise<Tensors> {
  const states = await readStates(
    device,
    trained.map(({ path }) => path),
  );
  return floatsOf(model.parameters(), weights, states);
}

/** A run between two steps. */
interface Run extends TrainingProgress {
  /** Parameters, and what the optimizer keeps, as the device has them. Absent states are zero. */
  readonly states: Tensors;
  /** A digest of what may not change between the parts of a run. */
  readonly identity: string;
  /** What computed the steps; undefined before the first. */
  readonly device: Model["device"]["name"] | undefined;
}

async function newRun({ weights, trained }: TrainingStart, identity: string): Promise<Run> {
  const states = await floatsOf(trained, weights);
  return { states, identity, device: undefined, losses: [], evaluations: [] };
}

/** Everything but gradients, which each step makes anew. */
function keptStates({ parameters }: TrainingRecipe, { manifest }: Model): readonly string[] {
  const gradients = new Set(parameters.map(({ path }) => gradientName(path)));
  return manifest.states!.map(({ name }) => name).filter((name) => !gradients.has(name));
}

/** The graphs of a step that takes one call, before they are lowered. */
function entriesOf(training: Training, start: TrainingStart): TrainingEntries {
  const step = stepOf(training, start);
  return trainingEntries(lossGraph(start.model, step), 1, { ...stepOptions(step), recompute: false });
}

/** What computes loss and gradients of these inputs. */
function gradientsFrom(entries: TrainingEntries, inputs: TensorInputs): Graph {
  const { gradients, mixed_gradients: mixed } = entries;
  return mixed?.inputs.every(({ name }) => name! in inputs) ? mixed : gradients;
}

/** The recipe, the text, the weights that are started from, and what is computed of them: model, loss and optimizer. */
function identityOf(
  recipe: TrainingRecipe,
  data: TextData,
  { digest, teacher }: TrainingStart,
  entries: TrainingEntries,
): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([recipe, data.digest, digest, teacher?.digest]));
  for (const entry of Object.values<Graph>({ ...entries })) hash.update(printGraph(entry));
  return hash.digest("hex");
}

/** Writes the checkpoint and the curve. @throws BitloomError WRITE_FAILED */
async function saveRun(out: string, name: string, { states, ...progress }: Run): Promise<void> {
  await writeTensors(join(out, CHECKPOINT), states, { progress: JSON.stringify(progress) });
  await writeWhole(join(out, "loss.svg"), [lossChart(name, [{ name, ...progress }])]);
}

const progressSchema = z.object({
  identity: z.string(),
  device: z.enum(["cuda", "webgpu", "wasm"]),
  losses: z.array(z.number()),
  evaluations: z.array(z.object({ step: z.number(), loss: z.number() })),
});

async function readCheckpoint(path: string) {
  try {
    const { tensors, metadata } = await readTensors(path);
    return { tensors, progress: progressSchema.parse(JSON.parse(metadata.get("progress") ?? "")) };
  } catch (cause) {
    if (cause instanceof BitloomError && ["MISSING_FILE", "READ_FAILED"].includes(cause.code)) throw cause;
    throw new BitloomError("CORRUPT_FILE", `${path} is no checkpoint of a training, or a damaged one`, {
      received: (cause as Error).message.split("\n", 1)[0]!.replace(/ \[\w+\]$/, ""),
      hint: "Put a copy of it in its place, or begin the run anew in another folder, without --resume.",
      cause,
    });
  }
}

/**
 * @param expected the training's, and the device that is asked for
 * @throws BitloomError MISSING_FILE, CORRUPT_FILE, INVALID_OPTION for the checkpoint of another training or device
 */
async function readRun(
  path: string,
  expected: { readonly identity: string; readonly device: TrainOptions["device"] },
): Promise<Run> {
  const { tensors, progress } = await readCheckpoint(path);
  if (progress.identity !== expected.identity) {
    throw new BitloomError("INVALID_OPTION", `${path} is a checkpoint of another training`, {
      expected:
        "the same model, weights, text, seed, steps, schedules, quantization, optimizer and loss, batch, sequence, " +
        "accumulation and clipping, held-out share and evaluations",
      hint: "Put the training back as it was, or choose another folder.",
    });
  }
  const { device = "wasm" } = expected;
  if (device !== "auto" && device !== progress.device) {
    throw new BitloomError("INVALID_OPTION", `${path} is a checkpoint of a run on another device`, {
      expected: `the device "${progress.device}", or "auto", which takes it`,
      received: `"${device}"`,
    });
  }
  return { states: tensors, ...progress };
}
