import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import type { LanguageModelConfig, RopeScaling } from "../dsl/families/config.ts";

export type Architecture = LanguageModelConfig["architecture"];
const architectures: readonly Architecture[] = ["BitNetForCausalLM", "BitnetForCausalLM", "LlamaForCausalLM"];

/**
 * How the checkpoint stores its BitLinear weights.
 * - `packed-multiply`: uint8 codes, weight = code * weight_scale.
 * - `packed-divide`: uint8 codes, weight = code / weight_scale.
 * - `latent`: floats, quantized by absmean at load.
 * - `none`: ordinary linears.
 */
export type Quantization = "packed-multiply" | "packed-divide" | "latent" | "none";

/** What config.json says. Whether the head is tied, and the names of the sub-norms, may be left to the file. */
export interface CheckpointConfig {
  readonly model: Omit<LanguageModelConfig, "name" | "tiedHead" | "quantized">;
  readonly tiedHead: boolean | undefined;
  readonly quantization: Quantization;
  /** Module paths that stay ordinary linears although the checkpoint is quantized. */
  readonly unconverted: readonly string[];
}

/** Far beyond any model; keeps a damaged number from being taken for work to do. */
const MAX_LAYERS = 10_000;

const size = z.int().min(1);
const token = z.int().min(0);
const tokens = z.union([token, z.array(token)]).nullish();

const quantizationConfig = z.object({
  quant_method: z.string(),
  linear_class: z.enum(["bitlinear", "autobitlinear"]).default("bitlinear"),
  quantization_mode: z.enum(["online", "offline"]).default("offline"),
  modules_to_not_convert: z.array(z.string()).nullish(),
  use_rms_norm: z.boolean().nullish(),
  rms_norm_eps: z.number().positive().nullish(),
});

const ropeParameters = z.object({
  rope_theta: z.number().positive().nullish(),
  rope_type: z.string().nullish(),
  /** Older spelling of rope_type. */
  type: z.string().nullish(),
  partial_rotary_factor: z.literal(1).nullish(),
  factor: z.number().positive().nullish(),
  low_freq_factor: z.number().positive().nullish(),
  high_freq_factor: z.number().positive().nullish(),
  original_max_position_embeddings: size.nullish(),
});

const schema = z.object({
  architectures: z.array(z.string()).min(1),
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size.max(MAX_LAYERS),
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: ropeParameters.nullish(),
  rope_scaling: ropeParameters.nullish(),
  /** Of the families here, all rotate whole heads. */
  partial_rotary_factor: z.literal(1).nullish(),
  hidden_act: z.string(),
  max_position_embeddings: size,
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  bos_token_id: token.nullish(),
  eos_token_id: tokens,
  quantization_config: quantizationConfig.nullish(),
});

const generationSchema = z.object({ bos_token_id: token.nullish(), eos_token_id: tokens });

const activations: Readonly<Record<string, LanguageModelConfig["activation"]>> = {
  relu2: "relu2",
  silu: "silu",
  swish: "silu",
};

/**
 * Reads config.json (and generation_config.json, if there is one). Nothing is taken from a class's defaults:
 * a value that decides the result must be in the file.
 * Throws UNKNOWN_ARCHITECTURE or INVALID_CONFIG.
 *
 * @param location path of config.json for messages
 */
export function parseConfig(json: unknown, generationJson: unknown, location: string): CheckpointConfig {
  const architecture = findArchitecture(json, location);
  const raw = check(schema, json, location);
  const generation = check(
    generationSchema,
    generationJson ?? {},
    `generation_config.json beside ${location}`,
  );
  const heads = raw.num_attention_heads;
  const keyValueHeads = raw.num_key_value_heads ?? heads;
  if (heads % keyValueHeads !== 0) {
    throw invalid(
      location,
      "num_key_value_heads does not divide num_attention_heads",
      `${heads}/${keyValueHeads}`,
    );
  }
  const headDim = raw.head_dim ?? raw.hidden_size / heads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw invalid(location, "The head dimension is not an even integer", `${headDim}`);
  }
  const activation = Object.hasOwn(activations, raw.hidden_act) ? activations[raw.hidden_act] : undefined;
  if (activation === undefined) {
    throw invalid(location, "Unknown hidden_act", raw.hidden_act, Object.keys(activations).join(", "));
  }
  const bosToken = raw.bos_token_id ?? generation.bos_token_id ?? null;
  const eosTokens = [...new Set([raw.eos_token_id ?? [], generation.eos_token_id ?? []].flat())];
  const outside = [bosToken ?? 0, ...eosTokens].find((id) => id >= raw.vocab_size);
  if (outside !== undefined) {
    const ids = `ids below vocab_size, ${raw.vocab_size}`;
    throw invalid(location, "bos_token_id or eos_token_id is outside the vocabulary", `${outside}`, ids);
  }
  const ropeScaling = ropeScalingOf(raw, location);
  const { use_rms_norm: projectionNorm, rms_norm_eps: eps } = raw.quantization_config ?? {};
  return {
    model: {
      architecture,
      vocabularySize: raw.vocab_size,
      hiddenSize: raw.hidden_size,
      intermediateSize: raw.intermediate_size,
      layers: raw.num_hidden_layers,
      heads,
      keyValueHeads,
      headDim,
      normEpsilon: raw.rms_norm_eps,
      ropeTheta: ropeTheta(raw, location),
      ...(ropeScaling === undefined ? {} : { ropeScaling }),
      contextLength: raw.max_position_embeddings,
      activation,
      attentionBias: raw.attention_bias ?? false,
      mlpBias: raw.mlp_bias ?? false,
      // The default of transformers' BitNetQuantConfig.
      ...(projectionNorm ? { projectionNormEpsilon: eps ?? 1e-6 } : {}),
      bosToken,
      eosTokens,
    },
    tiedHead: raw.tie_word_embeddings ?? undefined,
    quantization: quantizationOf(architecture, raw.quantization_config ?? undefined, location),
    unconverted: raw.quantization_config?.modules_to_not_convert ?? [],
  };
}

function findArchitecture(json: unknown, location: string): Architecture {
  const named = z.object({ architectures: z.array(z.string()).min(1) }).safeParse(json);
  if (!named.success) throw invalid(location, "config.json names no architecture", "no `architectures`");
  const architecture = architectures.find((known) => named.data.architectures.includes(known));
  if (architecture === undefined) {
    throw new BitloomError("UNKNOWN_ARCHITECTURE", "No model family for this checkpoint", {
      expected: architectures.join(", "),
      received: named.data.architectures.join(", "),
      location,
    });
  }
  return architecture;
}

/**
 * The size of weight_scale cannot tell multiply from divide (mean |W| is about 1 in some models), so the
 * configuration alone decides. BitNet families without a quantization_config publish latent weights.
 */
function quantizationOf(
  architecture: Architecture,
  config: z.infer<typeof quantizationConfig> | undefined,
  location: string,
): Quantization {
  if (config === undefined) return architecture === "LlamaForCausalLM" ? "none" : "latent";
  if (config.quant_method !== "bitnet") {
    throw invalid(location, "Unknown quantization_config.quant_method", config.quant_method, "bitnet");
  }
  if (config.linear_class === "bitlinear") return "packed-divide";
  return config.quantization_mode === "offline" ? "packed-multiply" : "latent";
}

/** transformers 5 keeps everything in `rope_parameters`; before, there were `rope_theta` and `rope_scaling`. */
function ropeTheta(raw: z.infer<typeof schema>, location: string): number {
  const theta = raw.rope_parameters?.rope_theta ?? raw.rope_theta;
  if (theta !== undefined && theta !== null) return theta;
  throw invalid(location, "config.json does not say rope_theta", "neither rope_theta nor rope_parameters");
}

function ropeScalingOf(raw: z.infer<typeof schema>, location: string): RopeScaling | undefined {
  const scaling = { ...raw.rope_parameters, ...raw.rope_scaling };
  const kind = scaling.rope_type ?? scaling.type ?? "default";
  const need = (
    key: "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings",
  ) => {
    const value = scaling[key];
    if (value === undefined || value === null) {
      throw invalid(location, `Position scaling "${kind}" needs ${key}`, "no such key");
    }
    return value;
  };
  switch (kind) {
    case "default":
      return undefined;
    case "linear":
      return { kind, factor: need("factor") };
    case "llama3":
      return {
        kind,
        factor: need("factor"),
        lowFrequencyFactor: need("low_freq_factor"),
        highFrequencyFactor: need("high_freq_factor"),
        originalContextLength: need("original_max_position_embeddings"),
      };
    default:
      throw invalid(location, "Unknown position scaling", kind, "default, linear, llama3");
  }
}

function check<T extends z.ZodType>(type: T, json: unknown, location: string): z.infer<T> {
  const parsed = type.safeParse(json);
  if (parsed.success) return parsed.data;
  throw invalid(location, "The configuration is not valid", z.prettifyError(parsed.error));
}

function invalid(location: string, summary: string, received: string, expected?: string): BitloomError {
  return new BitloomError("INVALID_CONFIG", summary, {
    ...(expected === undefined ? {} : { expected }),
    received,
    location,
  });
}
