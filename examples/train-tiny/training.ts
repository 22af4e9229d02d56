// A BitNet language model that learns in about a minute to tell the stories of stories.ts.
import { cosineRate, defineTraining, type Training } from "bitloom";
import { stories } from "./stories.ts";

/** @param steps updates of the weights; the learning rate falls over all of them */
export function training(steps: number): Training {
  return defineTraining({
    model: {
      name: "train-tiny",
      architecture: "BitNetForCausalLM",
      vocabularySize: 1024,
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
    // About four characters make a token: a long run sees each story twice.
    text: [{ content: stories(20_000 + 2000 * steps, 1) }],
    tokenizer: { vocabulary: 1024 },
    steps,
    batch: 8,
    sequence: 128,
    evaluateSequences: 16,
    learningRate: cosineRate(3e-3, { warmup: Math.ceil(steps / 20) }),
  });
}

export default training(1000);
