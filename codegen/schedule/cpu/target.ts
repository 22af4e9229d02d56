import { placeInMemory } from "../arena.ts";
import { scalarLanes, type TargetCode } from "../lanes.ts";
import type { Templates } from "../library.ts";
import { noLimits } from "../limits.ts";
import type { TargetClass } from "../schedule.ts";
import { loadMath, loadTemplates, type TemplateFile } from "../templates.ts";
import { vectorLanes } from "./lanes.ts";
import { cpuRules } from "./rules.ts";

const files: Readonly<Record<string, TemplateFile>> = {
  attention: { file: "attention", fn: "attention" },
  "cache-write": { file: "cache-write", fn: "cacheWrite" },
  "dense-matmul": { file: "dense-matmul", fn: "denseMatmul" },
  embedding: { file: "embedding", fn: "embedding" },
  "int8-matmul": { file: "int8-matmul", fn: "int8Matmul" },
  quantize: { file: "quantize", fn: "quantize" },
  "rms-norm": { file: "rms-norm", fn: "rmsNorm" },
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
