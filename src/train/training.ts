import type { LanguageModelConfig } from "../dsl/families/config.ts";
import { languageModel } from "../dsl/families/index.ts";
import type { LanguageModel } from "../dsl/language-model.ts";
import { type AnyModel, isModel } from "../dsl/model.ts";
import { checkOptions, describe, hintOf, invalidOption } from "../dsl/options.ts";
import type { ParameterFilter } from "../quantize/trainable.ts";
import { adamW } from "./adamw.ts";
import { checkDistillation, type DistillationTerms } from "./distillation.ts";
import { bitLinears } from "./family-config.ts";
import type { DecayShare, LearningRate } from "./learning-rate.ts";
import type { Optimizer } from "./optimizer.ts";
import {
  type CheckedQuantization,
  checkQuantization,
  type QuantizationOptions,
  someOf,
} from "./quantization.ts";

import { distillRows, quantizationRows, trainingRows } from "./training-options.ts";

/** The path of a file of UTF-8, or what a program made. */
export type TrainingText = string | { readonly content: string };

/** What `defineTraining` takes. */
export interface TrainingOptions {
  /**
   * A family's configuration, or a model of one's own, whose weights are then saved without config.json. Default: what
   * config.json in `weights` says, from which a configuration may not differ.
   */
  readonly model?: LanguageModelConfig | LanguageModel;
  /**
   * A folder with weights to go on from, such as what `bitloom convert` or an earlier run wrote: latent ones, by the
   * paths of the model's parameters. Default: random weights, as `seed` settles them.
   */
  readonly weights?: string;
  /**
   * What is trained, by paths or by what parameters are, such as `onlyCorrections`. All else is frozen: it has no
   * gradient, and keeps its bits. Default: everything.
   */
  readonly trainable?: readonly string[] | ParameterFilter;
  /** Text files, relative to the file that holds the configuration, and texts themselves; one after the other. */
  readonly text: readonly TrainingText[];
  /**
   * A folder with tokenizer.json; or how many tokens a tokenizer has that is made for this text, of bytes and the pairs
   * that are frequent in it. Default: `weights`, if that has one. Without, tokens are the bytes of UTF-8. The model needs a
   * vocabulary that has room for them.
   */
  readonly tokenizer?: string | { readonly vocabulary: number };
  /** Updates of the parameters. */
  readonly steps: number;
  /** Sequences of one call. */
  readonly batch: number;
  /** Tokens of one sequence. */
  readonly sequence: number;
  /** Calls whose gradients are averaged to one step. Default 1. */
  readonly accumulation?: number;
  readonly learningRate: LearningRate;
  /** Default: AdamW with betas 0.9 and 0.95, and a decay of 0.1 on matrices. */
  readonly optimizer?: Optimizer;
  /** A model to learn from besides, which stays as it is; what is trained on is then more than the cross-entropy. */
  readonly distill?: DistillOptions;
  /** What the optimizer's weight decays are multiplied by in each step. Default: they are the same in all. */
  readonly decayShare?: DecayShare;
  /** Default: BitLinears are quantized in full from the first step on. */
  readonly quantization?: QuantizationOptions;
  /** Most that the gradients' common L2 norm may be; larger ones are scaled down. Default 1; `null`: never. */
  readonly clipNorm?: number | null;
  /**
   * Whether activations are computed again for the gradients, which takes less memory and about a third more time; the
   * numbers are the same. Default `"auto"`: where there is no room for the step otherwise.
   */
  readonly recompute?: boolean | "auto";
  /** Most bytes that a step may take. Default: what there is. */
  readonly maxMemory?: number;
  /** Settles the first weights and the order of the data. Default 0. */
  readonly seed?: number;
  /** Share of the text, its end, that is not trained on. Default 0.05. */
  readonly heldOut?: number;
  /** Steps between evaluations on held-out text. Default: a tenth of the run. */
  readonly evaluateEvery?: number;
  /** Most sequences of an evaluation. Default 64. */
  readonly evaluateSequences?: number;
  /** Steps between checkpoints. Default: those between evaluations. */
  readonly checkpointEvery?: number;
}

export interface DistillOptions extends DistillationTerms {
  /**
   * A checkpoint's folder, in whatever form its weights are, with the vocabulary of the model that is trained: its
   * tokenizer.json is compared, where there is one.
   */
  readonly teacher: string;
}

const brand = Symbol.for("bitloom.training");

/** A checked training, ready to run. */
export interface Training
  extends Required<
    Omit<
      TrainingOptions,
      "model" | "weights" | "tokenizer" | "distill" | "decayShare" | "clipNorm" | "maxMemory" | "quantization"
    >
  > {
  readonly [brand]: true;
  /** Undefined where the folder of `weights` says it. */
  readonly model: LanguageModel | undefined;
  /** Of the family that the model is of, if it is of one. */
  readonly config: LanguageModelConfig | undefined;
  readonly weights: string | undefined;
  readonly tokenizer: TrainingOptions["tokenizer"];
  readonly distill: { readonly teacher: string; readonly terms: DistillationTerms } | undefined;
  readonly decayShare: DecayShare | undefined;
  readonly clipNorm: number | undefined;
  readonly quantization: CheckedQuantization;
  readonly maxMemory: number | undefined;
}

/** Whether a value, such as the default export of a user's file, is a training. */
export function isTraining(value: unknown): value is Training {
  return typeof value === "object" && value !== null && brand in value;
}

/** Decay for what multiplies; norms and biases have none. */
export function onMatrices(decay: number): (path: string, dims: readonly unknown[]) => number {
  return (_path, dims) => (dims.length > 1 ? decay : 0);
}

/**
 * Describes the training of a language model on text, for `bitloom train`.
 *
 * ```ts
 * export default defineTraining({
 *   model: { architecture: "BitNetForCausalLM", vocabularySize: 256, … },
 *   text: ["corpus.txt"],
 *   steps: 1000, batch: 16, sequence: 128,
 *   learningRate: cosineRate(1.5e-3, { warmup: 50 }),
 * });
 * ```
 * @throws BitloomError INVALID_OPTION naming the option, and of the model's description
 */
export function defineTraining(options: TrainingOptions): Training {
  checkOptions(options, trainingRows);
  const { text, tokenizer, steps, batch, sequence, learningRate, clipNorm = 1, seed = 0 } = options;
  const { heldOut = 0.05, accumulation = 1, evaluateSequences = 64 } = options;
  const { optimizer = adamW({ betas: [0.9, 0.95], weightDecay: onMatrices(0.1) }) } = options;
  const { weights, trainable = () => true, decayShare, recompute = "auto", maxMemory } = options;
  const { evaluateEvery = Math.ceil(steps / 10), checkpointEvery = evaluateEvery } = options;
  const quantization = checkQuantization(options.quantization ?? {});
  const { model, config } = describedModel(options, quantization);
  const distill = options.distill && checkedDistill(options.distill);
  if (model !== undefined) requireContext(sequence, model);
  return {
    [brand]: true,
    model,
    config,
    weights,
    trainable,
    text,
    tokenizer,
    steps,
    batch,
    sequence,
    accumulation,
    learningRate,
    optimizer,
    distill,
    decayShare,
    clipNorm: clipNorm ?? undefined,
    quantization,
    recompute,
    maxMemory,
    seed,
    heldOut,
    evaluateEvery,
    evaluateSequences,
    checkpointEvery,
  };
}

function checkedDistill(options: DistillOptions): Training["distill"] {
  checkOptions(options, distillRows, "distill");
  const { teacher, ...terms } = options;
  checkDistillation(terms);
  return { teacher, terms };
}

/** @throws BitloomError INVALID_OPTION */
export function requireContext(sequence: number, { contextLength }: LanguageModel): void {
  if (sequence <= contextLength) return;
  const expected = `at most the model's context of ${contextLength} tokens`;
  const hint = `Lower it to ${contextLength}, or raise the model's contextLength.`;
  throw invalidOption("sequence", expected, sequence, hint);
}

function describedModel(
  { model, weights }: TrainingOptions,
  { off }: CheckedQuantization,
): Pick<Training, "model" | "config"> {
  const isSaid = model === undefined && weights !== undefined;
  if (off !== undefined && (isSaid || isModel(model))) {
    const expected = isSaid
      ? "none: config.json in `weights` says it, in modules_to_not_convert"
      : "none: a model of one's own has linear() in place of bitLinear()";
    throw invalidOption("quantization: off", expected, off);
  }
  if (isSaid) return { model, config: undefined };
  if (isModel(model)) return { model: ownModel(model), config: undefined };
  const config = savedConfig(model, off);
  return { model: languageModel(config), config };
}

/** A configuration that config.json can say, without BitLinear in the layers that are `off`. */
function savedConfig(
  config: LanguageModelConfig | undefined,
  off: CheckedQuantization["off"],
): LanguageModelConfig {
  if (config === undefined) {
    const { takes, example } = trainingRows.model;
    const hint = `For example model: ${example}, or weights: ${trainingRows.weights.example}.`;
    throw invalidOption("model", `${takes}; or \`weights\` with a config.json`, config, hint);
  }
  const { architecture, quantized } = config;
  const isLlama = architecture === "LlamaForCausalLM";
  if (quantized !== true && !(isLlama && quantized === false) && typeof quantized !== "function") {
    const expected = isLlama ? "true, false" : `true, as ${architecture} is,`;
    const hint =
      'For ordinary linears take the architecture "LlamaForCausalLM", or quantization: { off: () => true }.';
    throw invalidOption("model: quantized", `${expected} or a function of a layer's path`, quantized, hint);
  }
  if (off === undefined) return config;
  const paths = bitLinears(config);
  if (!paths.some((path) => off(path))) {
    const expected = `a function that is true of some BitLinear: ${someOf(paths)}`;
    throw invalidOption("quantization: off", expected, off, hintOf("off", quantizationRows.off));
  }
  const isQuantized = typeof quantized === "function" ? quantized : () => quantized;
  return { ...config, quantized: (path) => isQuantized(path) && !off(path) };
}

function ownModel(model: AnyModel): LanguageModel {
  if (model.kind === "language-model") return model;
  throw invalidOption("model", "a language model", describe(model));
}
