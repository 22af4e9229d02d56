import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Tensors } from "../../runtime/training/trainer.ts";
import type { LanguageModelConfig, RopeScaling } from "../dsl/families/config.ts";
import { writeTensors } from "./tensor-file.ts";
import { writeWhole } from "./whole-file.ts";

/**
 * Writes a Hugging Face folder that `openCheckpoint` reads: latent weights, the tokenizer's files, and config.json where
 * the model is of a family. config.json is written last: a folder that has it is whole.
 * @throws BitloomError WRITE_FAILED
 */
export async function saveModel(
  folder: string,
  weights: Tensors,
  config: LanguageModelConfig | undefined,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeTensors(join(folder, "model.safetensors"), weights, { format: "pt" });
  for (const [name, text] of Object.entries(files)) await writeWhole(join(folder, name), [text]);
  if (config === undefined) return;
  await writeWhole(join(folder, "config.json"), [`${JSON.stringify(familyConfig(config), null, 2)}\n`]);
}

/** A family's config.json; linears that are BitLinear have latent weights, quantized when they are read. */
function familyConfig(config: LanguageModelConfig): object {
  const norm = config.projectionNormEpsilon;
  const quantization = {
    quant_method: "bitnet",
    linear_class: "autobitlinear",
    quantization_mode: "online",
    ...(norm !== undefined && { use_rms_norm: true, rms_norm_eps: norm }),
  };
  return {
    architectures: [config.architecture],
    model_type: config.architecture === "LlamaForCausalLM" ? "llama" : "bitnet",
    torch_dtype: "float32",
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headDim,
    rms_norm_eps: config.normEpsilon,
    rope_theta: config.ropeTheta,
    ...(config.ropeScaling && { rope_scaling: ropeScaling(config.ropeScaling) }),
    hidden_act: config.activation,
    max_position_embeddings: config.contextLength,
    tie_word_embeddings: config.tiedHead,
    attention_bias: config.attentionBias,
    mlp_bias: config.mlpBias,
    bos_token_id: config.bosToken,
    eos_token_id: config.eosTokens,
    ...(config.quantized === true && { quantization_config: quantization }),
  };
}

function ropeScaling(scaling: RopeScaling): object {
  if (scaling.kind === "linear") return { rope_type: "linear", factor: scaling.factor };
  return {
    rope_type: "llama3",
    factor: scaling.factor,
    low_freq_factor: scaling.lowFrequencyFactor,
    high_freq_factor: scaling.highFrequencyFactor,
    original_max_position_embeddings: scaling.originalContextLength,
  };
}
