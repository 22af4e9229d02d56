import { placeInMemory } from "../arena.ts";
import { gpuParts } from "../gpu/target.ts";
import { cudaLimits } from "../limits.ts";
import type { TargetClass } from "../schedule.ts";
import { loadTemplates, type TemplateFile } from "../templates.ts";
import { cudaRules } from "./rules.ts";

/** What the hardware has more than other GPUs. */
const files: Readonly<Record<string, TemplateFile>> = {
  "ternary-tensor-gemm": { file: "ternary-tensor-gemm", fn: "ternaryTensorGemm" },
};

let templates: ReturnType<typeof loadTemplates> | undefined;

/** The GPU class in one address space, as large as the device's memory is, with kernels for tensor cores. */
export async function cudaTarget(): Promise<TargetClass> {
  templates ??= loadTemplates("cuda", files);
  const shared = await gpuParts();
  return {
    ...shared,
    rules: cudaRules,
    templates: new Map([...shared.templates, ...(await templates)]),
    limits: cudaLimits,
    placeTemporaries: placeInMemory,
    addressSpace: Number.POSITIVE_INFINITY,
  };
}
