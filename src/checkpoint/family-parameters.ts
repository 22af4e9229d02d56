import type { LanguageModelConfig } from "../dsl/families/config.ts";
import { languageModel } from "../dsl/families/index.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";

/**
 * Every tensor a checkpoint of the family must hold, named as in the file. Weights of the kind `bitLinear` are
 * those that a checkpoint may have quantized.
 */
export function familyParameters(
  config: Omit<LanguageModelConfig, "name" | "quantized">,
): readonly ParameterDeclaration[] {
  return languageModel({ ...config, name: config.architecture, quantized: true }).parameters();
}
