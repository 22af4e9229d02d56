import { BitloomError } from "../../errors/index.ts";
import { yieldToEvents } from "../abort.ts";
import type { Model } from "../model.ts";
import { Random } from "../random.ts";
import type { TensorInputs } from "../session.ts";
import type { Tensor } from "../tensors.ts";
import { initialize } from "./initialize.ts";
import type { Tensors } from "./model-files.ts";
import type { TrainingRecipe } from "./recipe.ts";
import type { TextWindows } from "./text.ts";

/** What a step came to. */
export interface TrainedStep {
  /** Steps done, this one included. */
  readonly step: number;
  /** What is made small, before the update: the mean cross-entropy in nats, and what a teacher adds to it. */
  readonly loss: number;
  /** The gradients' common L2 norm before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
  /** How much of quantization there was, 0..1, the mean over what is quantized. */
  readonly lambda: number;
  readonly tokensPerSecond: number;
  /** The mean cross-entropy in nats on held-out text after this step, where it was computed. */
  readonly heldOutLoss?: number;
}

/** The mean cross-entropy in nats on held-out text after so many steps; after 0, that of the first weights. */
export interface Evaluation {
  readonly step: number;
  readonly loss: number;
}

/** How far a run is. */
export interface TrainingProgress {
  readonly losses: readonly number[];
  readonly evaluations: readonly Evaluation[];
}

export interface TrainerOptions {
  /** Of the run that this one goes on with; its states are to be written. Default: none yet. */
  readonly progress?: TrainingProgress;
  /** Says in words where the first NaN or infinity of a call comes from; all but the gradients is as it was before. */
  readonly findNonFinite?: (inputs: TensorInputs) => Promise<string | undefined>;
}

/** The parameters before training, by path, as the recipe's seed settles them. */
export function firstParameters({ parameters, seed }: Pick<TrainingRecipe, "parameters" | "seed">): Tensors {
  const random = Random.fromSeed(seed);
  return new Map(
    parameters.map((parameter) => [
      parameter.path,
      { dims: parameter.dims, data: initialize(parameter, random) },
    ]),
  );
}

/**
 * Trains a model whose artifact has a training step's entries. Equal recipes, texts and progress give equal weights,
 * bit for bit.
 */
export class Trainer {
  readonly #model: Model;
  readonly #recipe: TrainingRecipe;
  readonly #text: TextWindows;
  readonly #findNonFinite: TrainerOptions["findNonFinite"];
  readonly #losses: number[];
  readonly #evaluations: Evaluation[];

  /** @param model holds the states: `firstParameters`, or those of the run that is gone on with */
  constructor(model: Model, recipe: TrainingRecipe, text: TextWindows, options: TrainerOptions = {}) {
    const { progress, findNonFinite } = options;
    this.#model = model;
    this.#recipe = recipe;
    this.#text = text;
    this.#findNonFinite = findNonFinite;
    this.#losses = [...(progress?.losses ?? [])];
    this.#evaluations = [...(progress?.evaluations ?? [])];
  }

  get progress(): TrainingProgress {
    return { losses: this.#losses, evaluations: this.#evaluations };
  }

  /**
   * Does the steps that are left, one each time it is asked for the next: who does not ask pauses the run, and who breaks
   * off can `run` again. It begins with `evaluate`. Other events get their turn between steps.
   * @throws BitloomError TRAINING_DIVERGED with the parameters as they were before the step, or for a held-out loss that
   *   is not finite; DEVICE_FAILED, BUSY, DISPOSED
   */
  async *run(): AsyncGenerator<TrainedStep, void, void> {
    await this.evaluate();
    while (this.#losses.length < this.#recipe.steps) {
      const trained = await this.#step();
      const evaluation = await this.evaluate();
      await yieldToEvents();
      yield evaluation === undefined ? trained : { ...trained, heldOutLoss: evaluation.loss };
    }
  }

  /**
   * The loss on held-out text that is due and not yet part of the progress, if one is: before the first step, and where an
   * evaluation failed.
   * @throws BitloomError TRAINING_DIVERGED for one that is not finite; DEVICE_FAILED, BUSY, DISPOSED
   */
  async evaluate(): Promise<Evaluation | undefined> {
    const { steps, evaluateEvery } = this.#recipe;
    const step = this.#losses.length;
    const isDue = step % evaluateEvery === 0 || step === steps;
    if (!isDue || this.#evaluations.at(-1)?.step === step) return undefined;
    const evaluation = { step, loss: await this.#heldOutLoss() };
    this.#evaluations.push(evaluation);
    return evaluation;
  }

  async #step(): Promise<TrainedStep> {
    const { batch, sequence, accumulation } = this.#recipe;
    const done = this.#losses.length;
    const lambda = this.#recipe.lambda[done]!;
    const started = performance.now();
    let loss = 0;
    let norm: Tensor | undefined;
    for (let call = 0; call < accumulation; call++) {
      const entry = `${lambda < 1 ? "mixed_" : ""}${call === 0 ? "gradients" : "accumulate"}`;
      const tokens = this.#text.trained.shuffled(done * accumulation + call, batch);
      const inputs = { ...tokens, ...this.#scheduled(entry, done), ...this.#noise(entry, done) };
      const outputs = await this.#model.call(entry, inputs);
      norm = outputs.gradient_norm!;
      const own = numberOf(outputs.loss!);
      if (!Number.isFinite(own) || !Number.isFinite(numberOf(norm))) {
        const isGradient = Number.isFinite(own);
        const what = isGradient ? "the gradients are" : "the loss is";
        const received = isGradient ? "a gradient norm that is not finite" : `a loss of ${own}`;
        throw await this.#diverged(`At step ${done + 1} ${what} no number`, received, inputs);
      }
      loss += own / accumulation;
    }
    await this.#model.call("update", {
      ...this.#scheduled("update", done),
      // Where gradients are clipped.
      ...(this.#takes("update", "gradient_norm") && { gradient_norm: norm! }),
    });
    this.#losses.push(loss);
    const seconds = (performance.now() - started) / 1000;
    return {
      step: done + 1,
      loss,
      gradientNorm: numberOf(norm!),
      learningRate: this.#recipe.schedules.learning_rate![done]!,
      lambda,
      tokensPerSecond: (batch * sequence * accumulation) / seconds,
    };
  }

  async #diverged(message: string, received: string, inputs: TensorInputs): Promise<BitloomError> {
    let found: string | undefined;
    try {
      found = await this.#findNonFinite?.(inputs);
    } catch {
      // The search may need more memory than there is; what it would explain is told all the same.
    }
    return new BitloomError("TRAINING_DIVERGED", message, {
      received: found === undefined ? received : `${received}; first in ${found}`,
    });
  }

  async #heldOutLoss(): Promise<number> {
    const step = this.#losses.length;
    const { batch, evaluateSequences } = this.#recipe;
    const { heldOut } = this.#text;
    const count = Math.min(heldOut.count, evaluateSequences);
    let sum = 0;
    for (let start = 0; start < count; start += batch) {
      const inputs = heldOut.inOrder(start, Math.min(batch, count - start));
      const { loss } = await this.#model.call("evaluate", { ...inputs });
      const own = numberOf(loss!);
      if (!Number.isFinite(own)) {
        const when = step === 0 ? "Before the first step" : `After step ${step}`;
        const message = `${when} the loss on held-out text is no number`;
        throw await this.#diverged(message, `a loss of ${own}`, { ...inputs });
      }
      sum += own * inputs.tokens.dims[0];
    }
    return sum / count;
  }

  /** The inputs of an entry that have a value of their own in each step, counted from 0. */
  #scheduled(entry: string, step: number): TensorInputs {
    const values = Object.entries(this.#recipe.schedules).filter(([name]) => this.#takes(entry, name));
    return Object.fromEntries(values.map(([name, byStep]) => [name, Float32Array.of(byStep[step]!)]));
  }

  /** The keys of an entry's noise, those of the step in all of its calls. */
  #noise(entry: string, step: number): TensorInputs {
    const count = this.#inputOf(entry, "noise_keys")?.dims[0];
    return count === undefined ? {} : { noise_keys: noiseKeys(this.#recipe.seed, step, Number(count)) };
  }

  #takes(entry: string, input: string): boolean {
    return this.#inputOf(entry, input) !== undefined;
  }

  #inputOf(entry: string, input: string) {
    return this.#model.manifest.entries[entry]!.inputs.find(({ name }) => name === input);
  }
}

/** Replaces states of a model by name; the others stay as they are. */
export async function writeStates(model: Model, states: Tensors): Promise<void> {
  for (const [name, state] of states) await model.writeState(name, state);
}

/** Copies of a model's states, f32. */
export async function readStates(model: Model, names: Iterable<string>): Promise<Tensors> {
  const states = new Map<string, { dims: readonly number[]; data: Float32Array<ArrayBuffer> }>();
  for (const name of names) {
    const { data, dims } = await model.readState(name);
    states.set(name, { dims, data: data as Float32Array<ArrayBuffer> });
  }
  return states;
}

/** As many random i32 as an input holds, of a generator that seed and step settle. */
function noiseKeys(seed: number, step: number, count: number): Int32Array<ArrayBuffer> {
  const random = Random.fromSeed(Math.imul(seed, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b));
  return Int32Array.from({ length: count }, () => random.next());
}

function numberOf({ data }: Tensor): number {
  return Number(data[0]);
}
