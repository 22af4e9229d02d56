// A BitNet language model of bytes, small enough to learn in about a minute how this repository's documentation looks.
import { cosineRate, defineTraining } from "bitloom";

export default defineTraining({
  model: {
    name: "train-tiny",
    architecture: "BitNetForCausalLM",
    vocabularySize: 256,
    hiddenSize: 128,
    intermediateSize: 344,
    layers: 2,
    heads: 4,
    keyValueHeads: 4,
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
  },
  text: [
    "../../docs/architecture.md",
    "../../docs/kernels.md",
    "../../docs/performance.md",
    "../../README.md",
  ],
  steps: 1200,
  batch: 8,
  sequence: 64,
  learningRate: cosineRate(3e-3, { warmup: 40 }),
});
