import type { LanguageModel } from "../language-model.ts";
import { invalidOption, knownOptions } from "../options.ts";
import { bitnet } from "./bitnet.ts";
import type { LanguageModelConfig } from "./config.ts";
import { llama } from "./llama.ts";

export type { LanguageModelConfig, RopeScaling } from "./config.ts";
export { bitnet, llama };

/** Every field of a configuration, and whether it may be absent. */
const fields: { readonly [Field in keyof Required<LanguageModelConfig>]: "required" | "optional" } = {
  name: "required",
  architecture: "required",
  vocabularySize: "required",
  hiddenSize: "required",
  intermediateSize: "required",
  layers: "required",
  heads: "required",
  keyValueHeads: "required",
  headDim: "required",
  normEpsilon: "required",
  ropeTheta: "required",
  ropeScaling: "optional",
  contextLength: "required",
  activation: "required",
  tiedHead: "required",
  attentionBias: "required",
  mlpBias: "required",
  quantized: "required",
  projectionNormEpsilon: "optional",
  correctionRanks: "optional",
  bosToken: "required",
  eosTokens: "required",
};

/**
 * The model of the family that a configuration names.
 * @throws BitloomError INVALID_OPTION naming all fields that are missing, or one that is unknown, and of the family's description
 */
export function languageModel(config: LanguageModelConfig): LanguageModel {
  knownOptions("model", config, Object.keys(fields));
  const missing = Object.entries(fields).filter(
    ([field, need]) => need === "required" && config[field as keyof LanguageModelConfig] === undefined,
  );
  if (missing.length > 0) {
    throw invalidOption("model", `the fields ${missing.map(([field]) => field).join(", ")} besides`, config);
  }
  return config.architecture === "LlamaForCausalLM" ? llama(config) : bitnet(config);
}
