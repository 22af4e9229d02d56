import type { LanguageModel } from "../language-model.ts";
import { bitnet } from "./bitnet.ts";
import type { LanguageModelConfig } from "./config.ts";
import { llama } from "./llama.ts";

export type { LanguageModelConfig, RopeScaling } from "./config.ts";
export { bitnet, llama };

/**
 * The model of the family that a configuration names.
 * @throws BitloomError INVALID_OPTION naming all fields that are missing, or one that is unknown or cannot be
 */
export function languageModel(config: LanguageModelConfig): LanguageModel {
  return config?.architecture === "LlamaForCausalLM" ? llama(config) : bitnet(config);
}
