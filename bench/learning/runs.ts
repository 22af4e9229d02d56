import { stories } from "../../examples/train-tiny/stories.ts";
import type { LanguageModelConfig } from "../../src/dsl/families/index.ts";
import { onlyCorrections } from "../../src/quantize/index.ts";
import {
  cosineRate,
  defineTraining,
  lambdaWarmup,
  type Training,
  type TrainingOptions,
} from "../../src/train/index.ts";

/** BitNet b1.58 with 3.4 M parameters. */
const model: LanguageModelConfig = {
  name: "learning",
  architecture: "BitNetForCausalLM",
  vocabularySize: 1024,
  hiddenSize: 256,
  intermediateSize: 688,
  layers: 4,
  heads: 8,
  keyValueHeads: 8,
  headDim: 32,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  contextLength: 128,
  activation: "relu2",
  tiedHead: true,
  attentionBias: false,
  mlpBias: false,
  quantized: true,
  bosToken: null,
  eosTokens: [],
};

const text = [{ content: stories(3_000_000, 1) }];

/** What all runs have in common: the text, its order, and the shape of the schedule. */
function of(steps: number, peak: number, own: Partial<TrainingOptions>): Training {
  return defineTraining({
    text,
    steps,
    batch: 16,
    sequence: 128,
    learningRate: cosineRate(peak, { warmup: Math.ceil(steps / 20), end: 0.05 }),
    evaluateEvery: Math.ceil(steps / 10),
    evaluateSequences: 128,
    seed: 1,
    ...own,
  });
}

/** From random weights; in full precision the same model has ordinary linears in place of BitLinears. */
export function fromScratch(steps: number, precision: "ternary" | "full"): Training {
  return of(steps, 2e-3, {
    model,
    tokenizer: { vocabulary: model.vocabularySize },
    ...(precision === "full" && { quantization: { off: () => true } }),
  });
}

/** From a converted model, which has its tokenizer beside it; all of it is trained. */
export function fineTuning(steps: number, weights: string, warmup: number): Training {
  return of(steps, 1e-3, {
    weights,
    ...(warmup > 0 && { quantization: { lambda: lambdaWarmup({ steps: warmup }) } }),
  });
}

/** The low-rank corrections of a converted model, and nothing else. */
export function correcting(steps: number, weights: string): Training {
  return of(steps, 1e-3, { weights, trainable: onlyCorrections });
}
