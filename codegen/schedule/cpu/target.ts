import { placeInMemory } from "../arena.ts";
import { scalarLanes, type TargetCode } from "../lanes.ts";
import type { Templates } from "../library.ts";
import { noLimits } from "../limits.ts";
import type { TargetClass } from "../schedule.ts";
import { loadMath, loadTemplates, type TemplateFile } from "../templates.ts";
import { vectorLanes } from "./lanes.ts";
import { cpuRules } from "./rules.ts";

const files: Readonly<Record<string, TemplateFile>> = {
  "absmean-scales": { file: "absmean-scales", fn: "absmeanScales" },
  "absmean-sums": { file: "absmean", fn: "absmeanSums" },
  "attention-gradient": { file: "attention-gradient", fn: "attentionGradient" },
  "cached-attention": { file: "cached-attention", fn: "cachedAttention" },
  "cache-write": { file: "cache-write", fn: "cacheWrite" },
  "causal-attention": { file: "causal-attention", fn: "causalAttention" },
  "cross-entropy": { file: "cross-entropy", fn: "crossEntropy" },
  "cross-entropy-gradient": { file: "cross-entropy", fn: "crossEntropyGradient" },
  "dense-matmul": { file: "dense-matmul", fn: "denseMatmul" },
  embedding: { file: "embedding", fn: "embedding" },
  "embedding-gradient": { file: "embedding-gradient", fn: "embeddingGradient" },
  "int8-matmul": { file: "int8-matmul", fn: "int8Matmul" },
  "outer-matmul": { file: "outer-matmul", fn: "outerMatmul" },
  "pack-ternary": { file: "pack-ternary", fn: "packTernary" },
  quantize: { file: "quantize", fn: "quantize" },
  "rms-norm": { file: "rms-norm", fn: "rmsNorm" },
  "rms-norm-gradient": { file: "rms-norm-gradient", fn: "rmsNormGradient" },
  "rms-norm-weight-gradient": { file: "rms-norm-gradient", fn: "rmsNormWeightGradient" },
  rope: { file: "rope", fn: "rope" },
  softmax: { file: "softmax", fn: "softmax" },
  "ternary-dense-matmul": { file: "ternary-dense-matmul", fn: "ternaryDenseMatmul" },
  "ternary-matmul": {
    file: "ternary-matmul",
    fn: "ternaryMatmul",
    variants: { baseline: { relaxed: false }, relaxed: { relaxed: true } },
  },
  "top-k": { file: "top-k", fn: "topK" },
};

/** A 32-bit linear memory. */
const ADDRESS_SPACE = 2 ** 32;

let parts: Promise<{ readonly templates: Templates; readonly code: TargetCode }> | undefined;

/** The CPU class of targets: kernels over a range of items for each thread, with v128 lanes. */
export async function cpuTarget(): Promise<TargetClass> {
  parts ??= loadParts();
  return {
    rules: cpuRules,
    limits: noLimits,
    placeTemporaries: placeInMemory,
    addressSpace: ADDRESS_SPACE,
    ...(await parts),
  };
}

async function loadParts() {
  const templates = await loadTemplates("cpu", files);
  const code = { one: scalarLanes(await loadMath("cpu")), many: vectorLanes(await loadMath("cpu", "4")) };
  return { templates, code };
}
