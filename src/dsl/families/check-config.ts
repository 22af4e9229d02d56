import {
  checkOptions,
  invalidOption,
  isPositiveInteger,
  isPositiveNumber,
  type OptionRow,
  type OptionRows,
} from "../options.ts";
import type { LanguageModelConfig } from "./config.ts";

const count = (example: string): OptionRow => ({
  takes: "an integer of at least 1",
  example,
  isValid: isPositiveInteger,
});
const positive = (example: string): OptionRow => ({
  takes: "a finite number above 0",
  example,
  isValid: isPositiveNumber,
});
const flag = (example: string): OptionRow => ({
  takes: "true or false",
  example,
  isValid: (value) => typeof value === "boolean",
});
const oneOf = (...names: readonly string[]): OptionRow => ({
  takes: names.map((name) => `"${name}"`).join(" or "),
  example: `"${names[0]}"`,
  isValid: (value) => names.includes(value as string),
});
const isToken = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;
const isObject = (value: unknown) => typeof value === "object" && value !== null;

const rows: OptionRows<LanguageModelConfig> = {
  name: { takes: "a name", example: '"mine"', isValid: (value) => typeof value === "string" },
  architecture: oneOf("BitNetForCausalLM", "BitnetForCausalLM", "LlamaForCausalLM"),
  vocabularySize: count("1024"),
  hiddenSize: count("128"),
  intermediateSize: count("344"),
  layers: count("2"),
  heads: count("4"),
  keyValueHeads: count("4"),
  headDim: {
    takes: "an even integer of at least 2, for rotary positions turn channels in pairs",
    example: "32",
    isValid: (value) => isPositiveInteger(value) && Number(value) % 2 === 0,
  },
  normEpsilon: positive("1e-5"),
  ropeTheta: positive("10_000"),
  ropeScaling: {
    takes: 'an object with the kind "linear" or "llama3"',
    default: "none",
    example: '{ kind: "linear", factor: 2 }',
    isValid: isObject,
  },
  contextLength: count("128"),
  activation: oneOf("relu2", "silu"),
  tiedHead: flag("true"),
  attentionBias: flag("false"),
  mlpBias: flag("false"),
  quantized: {
    takes: "true, false, or a function of a layer's path",
    example: "true",
    isValid: (value) => typeof value === "boolean" || typeof value === "function",
  },
  projectionNormEpsilon: { ...positive("1e-5"), default: "no norms in projections" },
  correctionRanks: {
    takes: "ranks by the path of a projection",
    default: "no corrections",
    example: '{ "model.layers.0.mlp.down_proj": 4 }',
    isValid: isObject,
  },
  bosToken: {
    takes: "a token, or null",
    example: "null",
    isValid: (value) => value === null || isToken(value),
  },
  eosTokens: {
    takes: "a list of tokens",
    example: "[]",
    isValid: (value) => Array.isArray(value) && value.every(isToken),
  },
};

/**
 * Holds a configuration against what its fields may be, and be together.
 * @throws BitloomError INVALID_OPTION naming the field, or all that are missing
 */
export function checkConfig(config: LanguageModelConfig): void {
  checkOptions(config, rows, "model");
  const { heads, keyValueHeads } = config;
  if (heads % keyValueHeads !== 0) {
    throw invalidOption(
      "model: heads",
      `a multiple of keyValueHeads, which is ${keyValueHeads}: as many query heads share each`,
      heads,
      `For example heads: ${keyValueHeads * Math.ceil(heads / keyValueHeads)}, or keyValueHeads: ${heads}.`,
    );
  }
}
