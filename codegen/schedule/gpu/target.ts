import { placeInBuffers } from "../arena.ts";
import { scalarLanes } from "../lanes.ts";
import { webgpuLimits } from "../limits.ts";
import type { TargetClass } from "../schedule.ts";
import { loadMath, loadTemplates, type TemplateFile } from "../templates.ts";
import { gpuPatterns, gpuRules } from "./rules.ts";

/** Kernels that combine what the invocations of a workgroup have: through shared memory, or by subgroups. */
const reducing = { baseline: { subgroups: false }, subgroups: { subgroups: true } };

const files: Readonly<Record<string, TemplateFile>> = {
  "absmean-row-sums": { file: "absmean", fn: "absmeanRowSums" },
  "absmean-scales": { file: "absmean", fn: "absmeanScales" },
  "absmean-tensor-scale": { file: "absmean", fn: "absmeanTensorScale" },
  attention: { file: "attention", fn: "attention" },
  "attention-combine": { file: "attention-combine", fn: "attentionCombine" },
  "attention-key-gradient": { file: "attention-gradient", fn: "attentionKeyGradient" },
  "attention-query-gradient": { file: "attention-gradient", fn: "attentionQueryGradient" },
  "attention-statistics": { file: "attention-gradient", fn: "attentionStatistics" },
  "attention-decode": { file: "attention-decode", fn: "attentionDecode", variants: reducing },
  "combined-attention": { file: "attention-combine", fn: "combinedAttention" },
  "cache-write": { file: "cache-write", fn: "cacheWrite" },
  "cross-entropy": { file: "cross-entropy", fn: "crossEntropy", variants: reducing },
  "cross-entropy-gradient": { file: "cross-entropy", fn: "crossEntropyGradient" },
  "dense-gemm": { file: "dense-gemm", fn: "denseGemm" },
  "dense-gemv": { file: "dense-gemv", fn: "denseGemv", variants: reducing },
  embedding: { file: "embedding", fn: "embedding" },
  "embedding-gradient": { file: "embedding-gradient", fn: "embeddingGradient" },
  "embedding-gradient-links": { file: "embedding-gradient", fn: "embeddingGradientLinks" },
  "outer-gemm": { file: "outer-gemm", fn: "outerGemm" },
  "pack-ternary": { file: "pack-ternary", fn: "packTernary" },
  quantize: { file: "quantize", fn: "quantize", variants: reducing },
  reduce: { file: "reduce", fn: "reduce" },
  "rms-norm": { file: "rms-norm", fn: "rmsNorm", variants: reducing },
  "rms-norm-gradient": { file: "rms-norm-gradient", fn: "rmsNormGradient", variants: reducing },
  "rms-norm-weight-gradient": { file: "rms-norm-gradient", fn: "rmsNormWeightGradient" },
  rope: { file: "rope", fn: "rope" },
  "rope-cache": { file: "rope-cache", fn: "ropeCache" },
  "row-magnitudes": { file: "quantize", fn: "rowMagnitudes", variants: reducing },
  softmax: { file: "softmax", fn: "softmax", variants: reducing },
  "ternary-dense-gemm": { file: "ternary-dense-gemm", fn: "ternaryDenseGemm" },
  "ternary-dense-gemv": { file: "ternary-dense-gemv", fn: "ternaryDenseGemv", variants: reducing },
  "ternary-gemm": { file: "ternary-gemm", fn: "ternaryGemm" },
  "ternary-gemv": { file: "ternary-gemv", fn: "ternaryGemv", variants: reducing },
  "top-k": { file: "top-k", fn: "topK", variants: reducing },
};

let parts: ReturnType<typeof loadParts> | undefined;

/** The GPU class of targets: kernels for workgroups, and an invocation for each item of generated ones. */
export function gpuParts(): ReturnType<typeof loadParts> {
  parts ??= loadParts();
  return parts;
}

async function loadParts() {
  const templates = await loadTemplates("gpu", files);
  const code = { one: scalarLanes(await loadMath("gpu")) };
  return { rules: gpuRules, patterns: gpuPatterns, templates, code };
}

/** Each argument is bound by itself. */
export async function webgpuTarget(): Promise<TargetClass> {
  return { limits: webgpuLimits, placeTemporaries: placeInBuffers, ...(await gpuParts()) };
}
