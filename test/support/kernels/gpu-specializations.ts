/** Specializations of every kernel in templates/gpu: those that people read, and those of large models. */
import {
  type KernelFunction,
  loadTemplate,
  type OptionValue,
  specialize,
  templatePath,
} from "../../../codegen/index.ts";
import { storedAcc, stridedPrologue } from "./gpu-variants.ts";

export type Options = { readonly [option: string]: OptionValue };

export interface GpuSpecialization {
  /** Of templates/gpu. */
  readonly file: string;
  readonly kernel: string;
  /** Small, so that a person reads it. */
  readonly small: Options;
  /** What differs in one for 2B-4T's shapes on a large device. */
  readonly large: Options;
  /** Whether it has a variant with subgroup operations. */
  readonly reduces: boolean;
}

const rows = { workgroupSize: 32, held: 1, prologue: stridedPrologue };
const longRows = { workgroupSize: 256, held: 7 };
const tile = { workgroupSize: 32, rowThreads: 4, edge: 1, subgroups: false };
const largeTile = { workgroupSize: 256, rowThreads: 16, edge: 4 };
const epilogue = storedAcc("f32");
const exact = storedAcc("i32");

export const specializations: readonly GpuSpecialization[] = [
  {
    file: "quantize.ts",
    kernel: "quantize",
    small: { ...rows, qmax: 127, norm: true, perTensor: false },
    large: longRows,
    reduces: true,
  },
  {
    file: "quantize.ts",
    kernel: "rowMagnitudes",
    small: { ...rows, norm: false },
    large: { ...longRows, norm: true },
    reduces: true,
  },
  { file: "rms-norm.ts", kernel: "rmsNorm", small: rows, large: longRows, reduces: true },
  { file: "softmax.ts", kernel: "softmax", small: rows, large: { ...longRows, held: 0 }, reduces: true },
  {
    file: "ternary-gemv.ts",
    kernel: "ternaryGemv",
    small: { workgroupSize: 32, grouped: false, columnGroups: 1, tileRows: 1, ahead: 1, epilogue: exact },
    large: { workgroupSize: 128, columnGroups: 4, tileRows: 4, grouped: true, aligned: false, epilogue },
    reduces: true,
  },
  {
    file: "ternary-gemm.ts",
    kernel: "ternaryGemm",
    small: { ...tile, grouped: true, aligned: true, epilogue },
    large: { ...largeTile, grouped: false, epilogue: exact },
    reduces: false,
  },
  {
    file: "dense-gemv.ts",
    kernel: "denseGemv",
    small: { workgroupSize: 32, weight: "f16", aligned: true, tileColumns: 1, tileRows: 1, epilogue },
    large: { workgroupSize: 128, tileColumns: 8, tileRows: 4, weight: "int8" },
    reduces: true,
  },
  {
    file: "dense-gemm.ts",
    kernel: "denseGemm",
    small: { ...tile, weight: "bf16", epilogue },
    large: { ...largeTile, weight: "f16" },
    reduces: false,
  },
  {
    file: "ternary-dense-gemv.ts",
    kernel: "ternaryDenseGemv",
    small: { workgroupSize: 32, grouped: false, tileRows: 1, epilogue },
    large: { workgroupSize: 128, grouped: true, tileRows: 4 },
    reduces: true,
  },
  {
    file: "ternary-dense-gemm.ts",
    kernel: "ternaryDenseGemm",
    small: { ...tile, grouped: true, epilogue },
    large: largeTile,
    reduces: false,
  },
  {
    file: "outer-gemm.ts",
    kernel: "outerGemm",
    small: { ...tile, b: "int8", grouped: false, adjacentRows: true, adjacentColumns: true },
    large: { ...largeTile, b: "ternary", grouped: true, adjacentRows: false },
    reduces: false,
  },
  ...["absmeanScales", "absmeanRowSums", "absmeanTensorScale"].map((kernel) => ({
    file: "absmean.ts",
    kernel,
    small: { workgroupSize: 32, subgroups: false },
    large: { workgroupSize: 256 },
    reduces: false,
  })),
  {
    file: "pack-ternary.ts",
    kernel: "packTernary",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "embedding.ts",
    kernel: "embedding",
    small: { workgroupSize: 32, weight: "int8" },
    large: { workgroupSize: 256, weight: "ternary", grouped: true },
    reduces: false,
  },
  {
    file: "rope.ts",
    kernel: "rope",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "rope-cache.ts",
    kernel: "ropeCache",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "cache-write.ts",
    kernel: "cacheWrite",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "attention.ts",
    kernel: "attention",
    small: { ...tile, cached: true, dim: 16 },
    large: { workgroupSize: 64, rowThreads: 8, edge: 4, dim: 128 },
    reduces: false,
  },
  {
    file: "attention-decode.ts",
    kernel: "attentionDecode",
    small: { workgroupSize: 32, dim: 16, together: 1, keys: 32, fresh: true, whole: false },
    large: { workgroupSize: 128, dim: 128, together: 4, keys: 128 },
    reduces: true,
  },
  {
    file: "attention-combine.ts",
    kernel: "attentionCombine",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  ...(["attentionStatistics", "attentionQueryGradient", "attentionKeyGradient"] as const).map((kernel) => ({
    file: "attention-gradient.ts",
    kernel,
    small: { ...tile, owned: 1 },
    large: { workgroupSize: 128, rowThreads: 16, edge: 2, owned: 2 },
    reduces: false,
  })),
  {
    file: "cross-entropy.ts",
    kernel: "crossEntropy",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: true,
  },
  {
    file: "cross-entropy.ts",
    kernel: "crossEntropyGradient",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "embedding-gradient.ts",
    kernel: "embeddingGradientLinks",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 64 },
    reduces: false,
  },
  {
    file: "embedding-gradient.ts",
    kernel: "embeddingGradient",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: false,
  },
  {
    file: "rms-norm-gradient.ts",
    kernel: "rmsNormGradient",
    small: { workgroupSize: 32 },
    large: { workgroupSize: 256 },
    reduces: true,
  },
  {
    file: "rms-norm-gradient.ts",
    kernel: "rmsNormWeightGradient",
    small: { workgroupSize: 32, columns: 8 },
    large: { workgroupSize: 256, columns: 32 },
    reduces: false,
  },
  {
    file: "reduce.ts",
    kernel: "reduce",
    small: { workgroupSize: 32, columns: 8, kind: "mean" },
    large: { workgroupSize: 256, columns: 1, kind: "max" },
    reduces: false,
  },
  {
    file: "top-k.ts",
    kernel: "topK",
    small: { workgroupSize: 32, all: true },
    large: { workgroupSize: 256, all: false },
    reduces: true,
  },
];

/** One of them as kernel IR, by the name of its function if no other is given. */
export async function specializeGpu(
  { file, kernel }: GpuSpecialization,
  options: Options,
  name = kernel,
): Promise<KernelFunction> {
  return specialize(await loadTemplate(templatePath(`gpu/${file}`), kernel), { name, options });
}
