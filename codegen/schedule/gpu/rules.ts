import type { Pattern } from "../groups.ts";
import type { RuleTable } from "../rules.ts";
import { tensorRules } from "../tensor-rules.ts";
import { uncoveredRules } from "../uncovered.ts";
import { attentionRule } from "./attention.ts";
import { cachedAttention } from "./cached-attention.ts";
import { embeddingRule } from "./embedding.ts";
import {
  attentionGradientRule,
  crossEntropyGradientRule,
  crossEntropyRule,
  embeddingGradientRule,
  rmsNormGradientRule,
} from "./gradients.ts";
import { linearInputGradientRule, linearWeightGradientRule } from "./linear-gradients.ts";
import { anyTernaryProducts, linearRule, ternaryMatmulRule } from "./matmul.ts";
import { reductionRule } from "./reduction.ts";
import { quantizeRule, rmsNormRule, softmaxRule } from "./row-wise.ts";
import { cacheWriteRule, ropeRule } from "./sequence.ts";
import { absmeanQuantizeRule } from "./ternary-weights.ts";
import { topKRule } from "./top-k.ts";

/** Every op on the GPU class of targets: its rule, or why it has none. */
export const gpuRules: RuleTable = {
  ...tensorRules,
  ...uncoveredRules,
  sum: reductionRule("sum", "sum"),
  mean: reductionRule("mean", "mean"),
  max_reduce: reductionRule("max_reduce", "max"),
  min_reduce: reductionRule("min_reduce", "min"),
  ternary_matmul: ternaryMatmulRule(anyTernaryProducts),
  linear: linearRule,
  embedding: embeddingRule,
  quantize: quantizeRule,
  rms_norm: rmsNormRule,
  softmax: softmaxRule,
  top_k: topKRule,
  rope: ropeRule,
  cache_write: cacheWriteRule,
  attention: attentionRule,
  cross_entropy: crossEntropyRule,
  cross_entropy_gradient: crossEntropyGradientRule,
  embedding_gradient: embeddingGradientRule,
  rms_norm_gradient: rmsNormGradientRule,
  attention_gradient: attentionGradientRule,
  absmean_quantize: absmeanQuantizeRule,
  linear_input_gradient: linearInputGradientRule,
  linear_weight_gradient: linearWeightGradientRule,
};

/** Neighbours that the GPU class computes together. */
export const gpuPatterns: readonly Pattern[] = [cachedAttention];
