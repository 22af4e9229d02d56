// A BitNet language model of bytes, small enough to learn in a page while one watches.
import { cosineRate, defineTraining } from "bitloom";
import { sampleText } from "./sample-text.ts";

export default defineTraining({
  model: {
    name: "storyteller",
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
  text: [{ content: sampleText("stories") }],
  steps: 1200,
  batch: 8,
  sequence: 64,
  learningRate: cosineRate(3e-3, { warmup: 40 }),
});
