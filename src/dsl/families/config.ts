/** How rotary frequencies are stretched beyond the trained context; plain RoPE when absent. */
export type RopeScaling =
  /** Positions divided by `factor` (arXiv:2306.15595). */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3.1: low frequencies divided by `factor`, high ones kept, a linear ramp between. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    };

/**
 * What a decoder-only language model of the BitNet and Llama families is made of. The checkpoint reader
 * makes one from `config.json`; `bitnet(config)` and `llama(config)` turn it into a model.
 */
export interface LanguageModelConfig {
  readonly name: string;
  /**
   * The Hugging Face architecture, which settles the names and places of the sub-norms:
   * - `BitNetForCausalLM`: `self_attn.attn_sub_norm`, `mlp.ffn_sub_norm` (2B-4T);
   * - `BitnetForCausalLM`: `self_attn.inner_attn_ln`, `mlp.ffn_layernorm` (1bitLLM);
   * - `LlamaForCausalLM`: none.
   */
  readonly architecture: "BitNetForCausalLM" | "BitnetForCausalLM" | "LlamaForCausalLM";
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  /** Number of decoder layers. */
  readonly layers: number;
  /** Query heads; a multiple of `keyValueHeads`. */
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Channels of one head; need not be hiddenSize / heads. */
  readonly headDim: number;
  readonly normEpsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  /** Most positions a sequence can have: rows of the KV cache and of the RoPE tables. */
  readonly contextLength: number;
  /** Of the gated feed-forward. */
  readonly activation: "relu2" | "silu";
  /** The output projection is the embedding matrix; there is no `lm_head.weight`. */
  readonly tiedHead: boolean;
  /** q, k, v and o projections have a bias. */
  readonly attentionBias: boolean;
  /** gate, up and down projections have a bias. */
  readonly mlpBias: boolean;
  /**
   * Which projections are BitLinear; the others are ordinary. A function decides by module path
   * (`model.layers.0.self_attn.q_proj`), as `modules_to_not_convert` of a checkpoint does.
   */
  readonly quantized: boolean | ((modulePath: string) => boolean);
  /** The eps of a norm in each BitLinear, `q_proj.rms_norm`, as `use_rms_norm` has it; no such norms when absent. */
  readonly projectionNormEpsilon?: number;
  /** Ranks of the low-rank corrections of BitLinear projections, by module path; the others have none. */
  readonly correctionRanks?: Readonly<Record<string, number>>;
  readonly bosToken: number | null;
  /** Tokens that end generation. */
  readonly eosTokens: readonly number[];
}
