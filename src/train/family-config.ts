import { isDeepStrictEqual } from "node:util";
import type { LanguageModelConfig, RopeScaling } from "../dsl/families/config.ts";
import { languageModel } from "../dsl/families/index.ts";

/**
 * A family's config.json; linears that are BitLinear have latent weights, quantized when they are read, and those that
 * are not are listed.
 */
export function familyConfig(config: LanguageModelConfig): Readonly<Record<string, unknown>> {
  const norm = config.projectionNormEpsilon;
  const quantized = new Set(bitLinears(config));
  const ordinary = bitLinears({ ...config, quantized: true }).filter((path) => !quantized.has(path));
  // Without a word on quantization, a Llama is not quantized, and a BitNet is.
  const isPlain = quantized.size === 0 && config.architecture === "LlamaForCausalLM";
  const quantization = {
    quant_method: "bitnet",
    linear_class: "autobitlinear",
    quantization_mode: "online",
    ...(norm !== undefined && { use_rms_norm: true, rms_norm_eps: norm }),
    ...(ordinary.length > 0 && { modules_to_not_convert: ordinary }),
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
    ...(!isPlain && { quantization_config: quantization }),
  };
}

/** The first thing in which two configurations describe different models, with what each says of it. */
export function firstDifference(
  left: LanguageModelConfig,
  right: LanguageModelConfig,
): { readonly field: string; readonly left: unknown; readonly right: unknown } | undefined {
  const [own, other] = [said(left), said(right)];
  const field = [...new Set([...own.keys(), ...other.keys()])].find(
    (name) => !isDeepStrictEqual(own.get(name), other.get(name)),
  );
  return field === undefined ? undefined : { field, left: own.get(field), right: other.get(field) };
}

/**
 * What a configuration says by field, and what functions and tables say by layer. Names say nothing, what is only of
 * BitLinears says it where there are any, and a token ends a text once.
 */
function said(config: LanguageModelConfig): ReadonlyMap<string, unknown> {
  const { name: _name, quantized: _quantized, correctionRanks = {}, ...own } = config;
  const { projectionNormEpsilon, eosTokens, ...fields } = own;
  const quantized = new Set(bitLinears(config));
  const projections = bitLinears({ ...config, quantized: true });
  return new Map<string, unknown>([
    ...Object.entries(fields),
    ...projections.map((path) => [`quantized of ${path}`, quantized.has(path)] as const),
    ["eosTokens", [...new Set(eosTokens)]],
    ["projectionNormEpsilon", quantized.size > 0 ? projectionNormEpsilon : undefined],
    ...[...quantized].map((path) => [`correctionRanks of ${path}`, correctionRanks[path]] as const),
  ]);
}

/** The paths of a configuration's BitLinears. */
export function bitLinears(config: LanguageModelConfig): readonly string[] {
  const weights = languageModel(config)
    .parameters()
    .filter(({ kind }) => kind === "bitLinear");
  return weights.map(({ path }) => path.replace(/\.weight$/, ""));
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
