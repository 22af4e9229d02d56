import type { LanguageModelConfig } from "../dsl/families/config.ts";

/** Shapes of published models, for building with random weights where no checkpoint is at hand. */
export const knownModels: Readonly<Record<string, LanguageModelConfig>> = {
  "bitnet-b1.58-2B-4T": {
    name: "bitnet-b1.58-2B-4T",
    architecture: "BitNetForCausalLM",
    vocabularySize: 128256,
    hiddenSize: 2560,
    intermediateSize: 6912,
    layers: 30,
    heads: 20,
    keyValueHeads: 5,
    headDim: 128,
    normEpsilon: 1e-5,
    ropeTheta: 500_000,
    contextLength: 4096,
    activation: "relu2",
    tiedHead: true,
    attentionBias: false,
    mlpBias: false,
    quantized: true,
    bosToken: 128000,
    eosTokens: [128001, 128009],
  },
};
