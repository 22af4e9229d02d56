import type { RuleTable } from "../rules.ts";
import { tensorRules } from "../tensor-rules.ts";
import { uncoveredRules } from "../uncovered.ts";
import { embeddingRule } from "./embedding.ts";
import {
  attentionGradientRule,
  crossEntropyGradientRule,
  crossEntropyRule,
  embeddingGradientRule,
  linearInputGradientRule,
  linearWeightGradientRule,
  rmsNormGradientRule,
} from "./gradients.ts";
import { linearRule, ternaryMatmulRule } from "./matmul.ts";
import { quantizeRule, rmsNormRule, softmaxRule } from "./row-wise.ts";
import { attentionRule, cacheWriteRule, ropeRule } from "./sequence.ts";
import { absmeanQuantizeRule } from "./ternary-weights.ts";
import { topKRule } from "./top-k.ts";

/** Every op on the CPU class of targets: its rule, or why it has none. */
export const cpuRules: RuleTable = {
  ...tensorRules,
  ...uncoveredRules,
  ternary_matmul: ternaryMatmulRule,
  linear: linearRule,
  embedding: embeddingRule,
  quantize: quantizeRule,
  rms_norm: rmsNormRule,
  softmax: softmaxRule,
  top_k: topKRule,
  rope: ropeRule,
  cache_write: cacheWriteRule,
  attention: attentionRule,
  absmean_quantize: absmeanQuantizeRule,
  cross_entropy: crossEntropyRule,
  cross_entropy_gradient: crossEntropyGradientRule,
  linear_input_gradient: linearInputGradientRule,
  linear_weight_gradient: linearWeightGradientRule,
  embedding_gradient: embeddingGradientRule,
  rms_norm_gradient: rmsNormGradientRule,
  attention_gradient: attentionGradientRule,
};
