import {
  checkOptions,
  hintOf,
  invalidOption,
  isObject,
  isPositiveInteger,
  isPositiveNumber,
  nearest,
  type OptionRow,
  type OptionRows,
} from "../options.ts";
import type { LanguageModelConfig, RopeScaling } from "./config.ts";

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
    takes: "ranks, integers of at least 1, by the path of a projection",
    default: "no corrections",
    example: '{ "model.layers.0.mlp.down_proj": 4 }',
    isValid: (value) => isObject(value) && Object.values(value as object).every(isPositiveInteger),
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

type Scaling<Kind extends RopeScaling["kind"]> = Extract<RopeScaling, { readonly kind: Kind }>;

const linearRows: OptionRows<Scaling<"linear">> = { kind: oneOf("linear"), factor: positive("2") };
const llama3Rows: OptionRows<Scaling<"llama3">> = {
  kind: oneOf("llama3"),
  factor: positive("8"),
  lowFrequencyFactor: positive("1"),
  highFrequencyFactor: positive("4"),
  originalContextLength: count("8192"),
};

/** The projections of a decoder layer, by their paths in it. */
const projections = [
  ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `self_attn.${name}`),
  ...["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`),
];

/**
 * Holds a configuration against what its fields may be, and be together.
 * @throws BitloomError INVALID_OPTION naming the field, or all that are missing
 */
export function checkConfig(config: LanguageModelConfig): void {
  checkOptions(config, rows, "model");
  if (config.ropeScaling !== undefined) checkRopeScaling(config.ropeScaling);
  checkCorrectedPaths(config);
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

function checkRopeScaling(scaling: RopeScaling): void {
  const owner = "model: ropeScaling";
  const { kind }: { readonly kind: unknown } = scaling;
  if (scaling.kind === "linear") checkOptions(scaling, linearRows, owner);
  else if (scaling.kind === "llama3") checkOptions(scaling, llama3Rows, owner);
  else {
    const hint = hintOf("ropeScaling", rows.ropeScaling);
    throw invalidOption(`${owner}.kind`, '"linear" or "llama3"', kind, hint);
  }
}

/** A rank at a path that is none would correct nothing. */
function checkCorrectedPaths({ correctionRanks = {}, layers }: LanguageModelConfig): void {
  const corrected = Object.keys(correctionRanks);
  if (corrected.length === 0) return;
  const paths = Array.from({ length: layers }, (_, layer) =>
    projections.map((name) => `model.layers.${layer}.${name}`),
  ).flat();
  const known = new Set(paths);
  const unknown = corrected.find((path) => !known.has(path));
  if (unknown === undefined) return;
  throw invalidOption(
    "model: correctionRanks",
    `paths of projections, ${paths[0]} to ${paths.at(-1)}`,
    unknown,
    `Did you mean ${nearest(unknown, paths) ?? paths.at(-1)}?`,
  );
}
