import type { RuleTable, Uncovered } from "../rules.ts";
import { tensorRules } from "../tensor-rules.ts";
import { embeddingRule } from "./embedding.ts";
import { linearRule, ternaryMatmulRule } from "./matmul.ts";
import { quantizeRule, rmsNormRule, softmaxRule } from "./row-wise.ts";
import { attentionRule, cacheWriteRule, ropeRule } from "./sequence.ts";

const buildTime = (what: string): Uncovered => ({
  uncovered: `${what} is computed once while a model is built; make its operands depend on parameters alone.`,
});

/** Every op on the CPU class of targets: its rule, or why it has none. */
export const cpuRules: RuleTable = {
  ...tensorRules,
  ternary_matmul: ternaryMatmulRule,
  linear: linearRule,
  embedding: embeddingRule,
  quantize: quantizeRule,
  rms_norm: rmsNormRule,
  softmax: softmaxRule,
  rope: ropeRule,
  cache_write: cacheWriteRule,
  attention: attentionRule,
  bit_linear: { uncovered: "Run the pass lower-bitlinear first; building a model does." },
  absmean_quantize: buildTime("The ternary form of a weight"),
  quantize_int8: buildTime("The int8 form of a weight"),
  weight_scale: buildTime("The scale of a ternary weight"),
  rope_table: buildTime("A table of rotary angles"),
  constant: buildTime("A constant"),
};
