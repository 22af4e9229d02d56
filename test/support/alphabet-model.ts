/** A BitNet of bytes that learns an alphabet in some dozen steps. */
import type { LanguageModelConfig } from "../../src/dsl/families/config.ts";

export const alphabetConfig: LanguageModelConfig = {
  name: "alphabet",
  architecture: "BitNetForCausalLM",
  vocabularySize: 256,
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 1,
  heads: 2,
  keyValueHeads: 1,
  headDim: 16,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  contextLength: 32,
  activation: "relu2",
  tiedHead: true,
  attentionBias: false,
  mlpBias: false,
  quantized: true,
  bosToken: null,
  eosTokens: [],
};
