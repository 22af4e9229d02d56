import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { familyParameters } from "../../src/checkpoint/family-parameters.ts";
import { randomParameter, randomSource } from "../../src/checkpoint/random.ts";
import { storedBytes } from "../../src/checkpoint/source.ts";
import type { LanguageModelConfig } from "../../src/dsl/families/config.ts";
import { type RawTensor, writeTensors } from "./safetensors.ts";

/** A Llama of a few thousand parameters. */
export const tinyLlama: LanguageModelConfig = {
  name: "tiny-llama",
  architecture: "LlamaForCausalLM",
  vocabularySize: 40,
  hiddenSize: 16,
  intermediateSize: 28,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  contextLength: 32,
  activation: "silu",
  tiedHead: false,
  attentionBias: false,
  mlpBias: false,
  quantized: false,
  bosToken: 1,
  eosTokens: [2],
};

/** Writes a Llama with random weights, bf16 matrices and f32 norms, as a Hugging Face folder. */
export async function writeTinyLlama(folder: string, llama = tinyLlama): Promise<void> {
  const parameters = familyParameters(llama).map((parameter) =>
    randomParameter({ ...parameter, kind: parameter.kind === "bitLinear" ? "linear" : parameter.kind }),
  );
  const source = randomSource(parameters, 5);
  const tensors = new Map<string, RawTensor>();
  for (const { path, dims, kind } of parameters) {
    const bytes = new Uint8Array(storedBytes(source.info(path)!));
    await source.read(path, 0, bytes);
    tensors.set(path, { dtype: kind === "norm" ? "F32" : "BF16", shape: dims, bytes });
  }
  await mkdir(folder, { recursive: true });
  await writeTensors(join(folder, "model.safetensors"), tensors);
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: llama.vocabularySize,
    hidden_size: llama.hiddenSize,
    intermediate_size: llama.intermediateSize,
    num_hidden_layers: llama.layers,
    num_attention_heads: llama.heads,
    num_key_value_heads: llama.keyValueHeads,
    rms_norm_eps: llama.normEpsilon,
    rope_theta: llama.ropeTheta,
    hidden_act: llama.activation,
    max_position_embeddings: llama.contextLength,
    tie_word_embeddings: llama.tiedHead,
    bos_token_id: llama.bosToken,
    eos_token_id: llama.eosTokens,
    torch_dtype: "bfloat16",
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
}
