import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { gradientName } from "../../ir/passes/gradient.ts";
import { abortError } from "../../runtime/abort.ts";
import { load, type Model } from "../../runtime/index.ts";
import { Random } from "../../runtime/random.ts";
import type { Tensor } from "../../runtime/tensors.ts";
import { compileTraining, lowerTheStep } from "./compile-training.ts";
import { initialize } from "./initialize.ts";
import { lossChart } from "./loss-chart.ts";
import { firstNonFinite } from "./non-finite.ts";
import { saveModel } from "./saved-model.ts";
import { readTensors, type Tensors, writeTensors } from "./tensor-file.ts";
import { readText, type TextData } from "./text-data.ts";
import { lossGraph, trainingEntries } from "./train-step.ts";
import type { Training } from "./training.ts";
import { writeWhole } from "./whole-file.ts";
import type { TokenBatch } from "./windows.ts";

/** What a step came to. */
export interface TrainedStep {
  /** Steps done, this one included. */
  readonly step: number;
  /** Mean cross-entropy in nats before the update. */
  readonly loss: number;
  /** The gradients' common L2 norm before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}

/** The mean cross-entropy in nats on held-out text after so many steps. */
export interface Evaluation {
  readonly step: number;
  readonly loss: number;
}

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
  const checkpoint = join(out, "checkpoint.safetensors");
  if (!resume && existsSync(checkpoint)) {
    throw new BitloomError("WRITE_FAILED", `${out} holds a run already`, {
      hint: "Resume it (--resume), or choose another folder.",
    });
  }
  const data = await readText(training, base);
  const run = resume ? await readRun(checkpoint, identity(training, data)) : newRun(training);
  const folder = await mkdtemp(join(tmpdir(), "bitloom-train-"));
  try {
    await compileTraining(training.model, {
      out: join(folder, "step"),
      optimizer: training.optimizer,
      symbols: { batch: { max: training.batch }, seq: { max: training.sequence } },
      accumulation: training.accumulation,
      ...(training.clipNorm !== undefined && { clipNorm: training.clipNorm }),
      ...(signal && { signal }),
    });
    const { threads = Math.min(availableParallelism(), 32) } = options;
    const model = await load(join(folder, "step"), { device: "wasm", threads, signal }).catch(lowerTheStep);
    try {
      return await new Trainer(training, data, model, run, options).run();
    } finally {
      await model.dispose();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A run between two steps. */
interface Run {
  /** What the device has: parameters, and what the optimizer keeps. Absent states are zero. */
  readonly states: Tensors;
  readonly losses: number[];
  readonly evaluations: Evaluation[];
}

function newRun({ model, seed }: Training): Run {
  const random = Random.fromSeed(seed);
  const states = model
    .parameters()
    .map(
      (parameter) => [parameter.path, { dims: parameter.dims, data: initialize(parameter, random) }] as const,
    );
  return { states: new Map(states), losses: [], evaluations: [] };
}

/** What may not change between the parts of one run. */
function identity(
  { model, batch, sequence, accumulation, seed, steps }: Training,
  { digest }: TextData,
): string {
  const parameters = model.parameters().map(({ path, dims }) => [path, dims]);
  const text = JSON.stringify([parameters, batch, sequence, accumulation, seed, steps, digest]);
  return createHash("sha256").update(text).digest("hex");
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

class Trainer {
  readonly #training: Training;
  readonly #data: TextData;
  readonly #model: Model;
  readonly #run: Run;
  readonly #options: TrainOptions;

  constructor(training: Training, data: TextData, model: Model, run: Run, options: TrainOptions) {
    this.#training = training;
    this.#data = data;
    this.#model = model;
    this.#run = run;
    this.#options = options;
  }

  async run(): Promise<TrainReport> {
    const { steps, evaluateEvery, checkpointEvery } = this.#training;
    const { losses, evaluations, states } = this.#run;
    const { signal, onEvaluation } = this.#options;
    for (const [name, state] of states) await this.#model.writeState(name, state);
    let saved = losses.length;
    while (losses.length < steps) {
      await this.#step();
      const done = losses.length;
      if (done % evaluateEvery === 0 || done === steps) {
        const evaluation = { step: done, loss: await this.#evaluate() };
        evaluations.push(evaluation);
        onEvaluation?.(evaluation);
      }
      // Signals are told between turns of the event loop only, and calls of the device take none.
      await turn();
      if (done % checkpointEvery === 0 || done === steps || signal?.aborted) {
        await this.#checkpoint();
        saved = done;
      }
      if (signal?.aborted && saved < steps) throw abortError(signal);
    }
    const weights = await this.#read(this.#training.model.parameters().map(({ path }) => path));
    const folder = join(this.#options.out, "model");
    await saveModel(folder, weights, this.#training.config, this.#data.files);
    const parameters = [...weights.values()].reduce((sum, { data }) => sum + data.length, 0);
    return { model: folder, parameters, losses, evaluations };
  }

  async #step(): Promise<void> {
    const { batch, sequence, accumulation, clipNorm, steps } = this.#training;
    const { losses } = this.#run;
    const started = performance.now();
    let loss = 0;
    let norm: Tensor | undefined;
    for (let call = 0; call < accumulation; call++) {
      const inputs = this.#data.trained.shuffled(losses.length * accumulation + call, batch);
      const outputs = await this.#model.call(call === 0 ? "gradients" : "accumulate", { ...inputs });
      norm = outputs.gradient_norm!;
      const own = numberOf(outputs.loss!);
      if (!Number.isFinite(own) || !Number.isFinite(numberOf(norm))) await this.#diverged(inputs, own);
      loss += own / accumulation;
    }
    const learningRate = this.#training.learningRate(losses.length, steps);
    await this.#model.call("update", {
      learning_rate: Float32Array.of(learningRate),
      ...(clipNorm !== undefined && { gradient_norm: norm! }),
    });
    losses.push(loss);
    const seconds = (performance.now() - started) / 1000;
    this.#options.onStep?.({
      step: losses.length,
      loss,
      gradientNorm: numberOf(norm!),
      learningRate,
      tokensPerSecond: (batch * sequence * accumulation) / seconds,
    });
  }

  /** Parameters are as they were before the step: nothing has been updated by what is no number. */
  async #diverged(inputs: TokenBatch, loss: number): Promise<never> {
    const { model, batch, sequence, optimizer } = this.#training;
    const graph = lossGraph(model, { symbols: { batch: { max: batch }, seq: { max: sequence } } });
    const { gradients } = trainingEntries(graph, 1, { optimizer });
    const found = await firstNonFinite(gradients, this.#model, { ...inputs });
    const what = Number.isFinite(loss) ? "the gradients are" : "the loss is";
    throw new BitloomError("TRAINING_DIVERGED", `At step ${this.#run.losses.length + 1} ${what} no number`, {
      received: `${Number.isFinite(loss) ? "a gradient norm that is not finite" : `a loss of ${loss}`}; first in ${found ?? "a sum"}`,
    });
  }

  /** The mean loss on held-out text. */
  async #evaluate(): Promise<number> {
    const { batch, evaluateSequences } = this.#training;
    const { heldOut } = this.#data;
    const count = Math.min(heldOut.count, evaluateSequences);
    let sum = 0;
    for (let start = 0; start < count; start += batch) {
      const inputs = heldOut.inOrder(start, Math.min(batch, count - start));
      const { loss } = await this.#model.call("evaluate", { ...inputs });
      sum += numberOf(loss!) * inputs.tokens.dims[0];
    }
    return sum / count;
  }

  async #checkpoint(): Promise<void> {
    const { losses, evaluations } = this.#run;
    const gradients = new Set(this.#training.model.parameters().map(({ path }) => gradientName(path)));
    const names = this.#model.manifest.states!.map(({ name }) => name).filter((name) => !gradients.has(name));
    const progress = { identity: identity(this.#training, this.#data), losses, evaluations };
    const { out } = this.#options;
    await writeTensors(join(out, "checkpoint.safetensors"), await this.#read(names), {
      progress: JSON.stringify(progress),
    });
    await writeWhole(join(out, "loss.svg"), [lossChart(this.#training.model.name, losses, evaluations)]);
  }

  async #read(names: readonly string[]): Promise<Tensors> {
    const states = new Map<string, { dims: readonly number[]; data: Float32Array<ArrayBuffer> }>();
    for (const name of names) {
      const { data, dims } = await this.#model.readState(name);
      states.set(name, { dims, data: data as Float32Array<ArrayBuffer> });
    }
    return states;
  }
}

function numberOf({ data }: Tensor): number {
  return Number(data[0]);
}
