import type { LanguageModelConfig } from "../dsl/families/config.ts";
import type { Architecture } from "./config.ts";

/** What a tensor of a language model is for: a linear's weight may be quantized, the rest never is. */
export type TensorRole = "linear" | "embedding" | "head" | "norm" | "bias";

export interface FamilyTensor {
  readonly path: string;
  /** Logical dims; [N, K] for a weight. */
  readonly dims: readonly number[];
  readonly role: TensorRole;
}

/** Names of the norms inside attention and feed-forward; LlamaForCausalLM has none. */
export interface SubNorms {
  readonly attention: "self_attn.attn_sub_norm" | "self_attn.inner_attn_ln";
  readonly feedForward: "mlp.ffn_sub_norm" | "mlp.ffn_layernorm";
}

export const subNorms: Readonly<Record<Architecture, SubNorms | null>> = {
  BitNetForCausalLM: { attention: "self_attn.attn_sub_norm", feedForward: "mlp.ffn_sub_norm" },
  BitnetForCausalLM: { attention: "self_attn.inner_attn_ln", feedForward: "mlp.ffn_layernorm" },
  LlamaForCausalLM: null,
};

/** Every tensor a checkpoint of the family must hold, named as in the file. */
export function familyTensors(config: Omit<LanguageModelConfig, "name" | "quantized">): FamilyTensor[] {
  const { hiddenSize: hidden, intermediateSize: intermediate, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.keyValueHeads * headDim;
  const norms = subNorms[config.architecture];
  const tensors: FamilyTensor[] = [];
  const add = (path: string, dims: readonly number[], role: TensorRole) => tensors.push({ path, dims, role });
  const linear = (module: string, n: number, k: number, bias: boolean) => {
    add(`${module}.weight`, [n, k], "linear");
    if (bias) add(`${module}.bias`, [n], "bias");
  };
  add("model.embed_tokens.weight", [config.vocabularySize, hidden], "embedding");
  for (let i = 0; i < config.layers; i++) {
    const layer = `model.layers.${i}`;
    add(`${layer}.input_layernorm.weight`, [hidden], "norm");
    linear(`${layer}.self_attn.q_proj`, queries, hidden, config.attentionBias);
    linear(`${layer}.self_attn.k_proj`, keys, hidden, config.attentionBias);
    linear(`${layer}.self_attn.v_proj`, keys, hidden, config.attentionBias);
    if (norms !== null) add(`${layer}.${norms.attention}.weight`, [queries], "norm");
    linear(`${layer}.self_attn.o_proj`, hidden, queries, config.attentionBias);
    add(`${layer}.post_attention_layernorm.weight`, [hidden], "norm");
    linear(`${layer}.mlp.gate_proj`, intermediate, hidden, config.mlpBias);
    linear(`${layer}.mlp.up_proj`, intermediate, hidden, config.mlpBias);
    if (norms !== null) add(`${layer}.${norms.feedForward}.weight`, [intermediate], "norm");
    linear(`${layer}.mlp.down_proj`, hidden, intermediate, config.mlpBias);
  }
  add("model.norm.weight", [hidden], "norm");
  if (!config.tiedHead) add("lm_head.weight", [config.vocabularySize, hidden], "head");
  return tensors;
}
