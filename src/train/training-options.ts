/** What each option of a training takes, for checks, errors, and the table of the guide. */
import { BYTES } from "../../runtime/training/byte-tokenizer.ts";
import { isObject, isPositiveInteger, isPositiveNumber, type OptionRow } from "../dsl/options.ts";
import type { DistillationTerms } from "./distillation.ts";
import type { QuantizationOptions } from "./quantization.ts";
import type { DistillOptions, TrainingOptions } from "./training.ts";

export interface TrainingOptionRow extends OptionRow {
  readonly meaning: string;
}

type Rows<Options> = { readonly [Name in keyof Options]-?: TrainingOptionRow };

const isText = (value: unknown): value is string => typeof value === "string";
const isFunction = (value: unknown) => typeof value === "function";
const isShare = (value: unknown) => typeof value === "number" && value >= 0 && Number.isFinite(value);
const isLayer = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;
const isSoft = (value: unknown) =>
  isObject(value) &&
  Object.keys(value as object).every((key) => ["kind", "temperature"].includes(key)) &&
  (value as { kind: unknown }).kind === "soft" &&
  isPositiveNumber((value as { temperature: unknown }).temperature);

const integer = { takes: "an integer of at least 1", isValid: isPositiveInteger } as const;
const schedule = (example: string) => ({
  takes: `a schedule such as ${example}`,
  isValid: isFunction,
  example,
});

export const trainingRows: Rows<TrainingOptions> = {
  model: {
    takes: "a family's configuration, or what defineLanguageModel returns",
    default: "what config.json in `weights` says",
    example: '{ architecture: "BitNetForCausalLM", … }',
    // Its own rows look into it.
    isValid: isObject,
    meaning: "what is trained",
  },
  weights: {
    takes: "the path of a folder",
    default: "random weights, by `seed`",
    example: '"out/mine/model"',
    isValid: isText,
    meaning: "latent weights to go on from; a `model` or `tokenizer` beside them has to be theirs",
  },
  trainable: {
    takes: "a list of parameters' paths, or a filter such as onlyCorrections",
    default: "everything",
    example: "onlyCorrections",
    isValid: (value) => isFunction(value) || (Array.isArray(value) && value.every(isText)),
    meaning: "what is trained; all else keeps its bits",
  },
  text: {
    takes: "a list of one or more paths or { content: string }",
    example: '["corpus.txt"]',
    isValid: (value) =>
      Array.isArray(value) && value.length > 0 && value.every((one) => isText(one) || isText(one?.content)),
    meaning: "what is learnt from: files, or text that a program made",
  },
  tokenizer: {
    takes: `the path of a folder, or { vocabulary: ${BYTES} or more }`,
    default: "that of `weights`, or bytes",
    example: "{ vocabulary: 1024 }",
    isValid: (value) => {
      const size = (value as { vocabulary?: unknown } | null)?.vocabulary;
      return isText(value) || (Number.isSafeInteger(size) && Number(size) >= BYTES);
    },
    meaning: "a folder with tokenizer.json, or the size of one that is made for the text",
  },
  steps: { ...integer, example: "1000", meaning: "updates of the parameters" },
  batch: { ...integer, example: "16", meaning: "sequences of one call" },
  sequence: { ...integer, example: "128", meaning: "tokens of one sequence, at most the model's context" },
  accumulation: {
    ...integer,
    default: "1",
    example: "4",
    meaning: "calls whose gradients are averaged to one step",
  },
  learningRate: {
    ...schedule("cosineRate(2e-3, { warmup: 50 })"),
    meaning: "the rate of each step",
  },
  optimizer: {
    takes: "an optimizer such as adamW()",
    default: "adamW with betas 0.9 and 0.95, and a decay of 0.1 on matrices",
    example: "adamW({ weightDecay: onMatrices(0.05) })",
    isValid: (value) => isFunction((value as { begin?: unknown } | null)?.begin),
    meaning: "how gradients become updates: `adamW` or `sgd`",
  },
  distill: {
    takes: "an object with a teacher",
    default: "no teacher",
    example: '{ teacher: "original" }',
    // Its own rows look into it.
    isValid: isObject,
    meaning: "a model to learn from besides the text",
  },
  decayShare: {
    ...schedule("twoStageDecay()"),
    default: "1 in all steps",
    meaning: "what weight decays are multiplied by in each step",
  },
  quantization: {
    takes: "an object",
    default: "BitLinears are quantized in full from the first step on",
    example: "{ lambda: lambdaWarmup({ steps: 200 }) }",
    // Its own rows look into it.
    isValid: isObject,
    meaning: "how BitLinears are quantized while they are trained",
  },
  clipNorm: {
    takes: "a finite number above 0, or null",
    default: "1",
    example: "0.5",
    isValid: (value) => value === null || isPositiveNumber(value),
    meaning: "the largest common norm of the gradients; larger ones are scaled down, with null never",
  },
  recompute: {
    takes: 'true, false or "auto"',
    default: '"auto"',
    example: "true",
    isValid: (value) => [true, false, "auto"].includes(value as boolean),
    meaning:
      "activations are computed again for the gradients: less memory, more time; auto: where memory is short",
  },
  maxMemory: {
    takes: "an integer of at least 1",
    default: "what there is",
    example: "2 * 2 ** 30",
    isValid: isPositiveInteger,
    meaning: "most bytes that a step may take",
  },
  seed: {
    takes: "a whole number",
    default: "0",
    example: "7",
    isValid: Number.isSafeInteger,
    meaning: "settles the first weights and the order of the data",
  },
  heldOut: {
    takes: "a share above 0 and below 1",
    default: "0.05",
    example: "0.1",
    isValid: (value) => isPositiveNumber(value) && Number(value) < 1,
    meaning: "share of the text, its end, that is not trained on",
  },
  evaluateEvery: {
    ...integer,
    default: "a tenth of the run",
    example: "100",
    meaning: "steps between evaluations on held-out text",
  },
  evaluateSequences: { ...integer, default: "64", example: "16", meaning: "most sequences of an evaluation" },
  checkpointEvery: {
    ...integer,
    default: "`evaluateEvery`",
    example: "100",
    meaning: "steps between checkpoints",
  },
};

export const quantizationRows: Rows<QuantizationOptions> = {
  lambda: {
    ...schedule("lambdaWarmup({ steps: 200 })"),
    default: "that of `setGlobalLambdaWarmup`, or 1",
    meaning: "how much of quantization there is in each step, 0 to 1",
  },
  layers: {
    takes: "schedules or constants by the path of a layer, or of what it is part of",
    default: "`lambda` for all",
    example: '{ "model.layers.0": 1 }',
    isValid: isObject,
    meaning: "schedules of single layers; the longest path counts",
  },
  ste: {
    takes: '"identity", "clipped", "soft" or { kind: "soft", temperature: a number above 0 }',
    default: '"identity"',
    example: '"clipped"',
    isValid: (value) => ["identity", "clipped", "soft"].includes(value as string) || isSoft(value),
    meaning: "how gradients go through the weights' quantizer",
  },
  noise: {
    takes: '"uniform" or "gaussian"',
    default: "none",
    example: '"uniform"',
    isValid: (value) => ["uniform", "gaussian"].includes(value as string),
    meaning: "noise in the share of a weight that is not quantized yet",
  },
  off: {
    takes: "a function of a layer's path",
    default: "every BitLinear of the model is one",
    example: '(path) => path.endsWith("o_proj")',
    isValid: isFunction,
    meaning: "layers that are ordinary linears",
  },
};

/** Those of the authors' program, see distillation.ts. */
export const distillationDefaults = { temperature: 5, logits: 1, attention: 31.25 } as const;

export const distillationRows: Rows<DistillationTerms> = {
  temperature: {
    takes: "a finite number above 0",
    default: String(distillationDefaults.temperature),
    example: "2",
    isValid: isPositiveNumber,
    meaning: "what both sides' logits are divided by",
  },
  weights: {
    takes: "an object of logits and attention",
    default: "those of its parts",
    example: "{ attention: 0 }",
    // Its own rows look into it.
    isValid: isObject,
    meaning: "what the divergences are multiplied by",
  },
  layer: {
    takes: "a layer, counted from 0",
    default: "the last one",
    example: "10",
    isValid: isLayer,
    meaning: "whose attention relations are compared",
  },
  teacherLayer: {
    takes: "a layer, counted from 0",
    default: "`layer`, or the last one",
    example: "22",
    isValid: isLayer,
    meaning: "with which layer of the teacher's",
  },
  heads: {
    takes: "an integer of at least 1",
    default: "the heads that attention has",
    example: "32",
    isValid: isPositiveInteger,
    meaning: "relation heads, into which Q, K and V are split on both sides",
  },
};

const weight = { takes: "a finite number of at least 0", isValid: isShare } as const;

export const distillationWeightRows: Rows<NonNullable<DistillationTerms["weights"]>> = {
  logits: {
    ...weight,
    default: String(distillationDefaults.logits),
    example: "0.5",
    meaning: "weight of the logits' divergence; 0 leaves it out",
  },
  attention: {
    ...weight,
    default: String(distillationDefaults.attention),
    example: "100",
    meaning: "weight of the relations' divergence; 0 leaves it out",
  },
};

export const distillRows: Rows<DistillOptions> = {
  teacher: {
    takes: "the path of a checkpoint's folder",
    example: '"original"',
    isValid: isText,
    meaning: "a model with the same tokenizer, which stays as it is",
  },
  ...distillationRows,
};
