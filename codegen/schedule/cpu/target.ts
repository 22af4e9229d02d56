import { loadTemplate, specialize } from "../../kernel/frontend.ts";
import type { KernelFunction } from "../../kernel/ir.ts";
import { templatePath } from "../../kernel/template-path.ts";
import {
  type MathFunction,
  type MathHelpers,
  mathFunctions,
  scalarLanes,
  type TargetCode,
} from "../lanes.ts";
import type { Templates } from "../library.ts";
import type { Target } from "../schedule.ts";
import { vectorLanes } from "./lanes.ts";
import { cpuRules } from "./rules.ts";

/** Template files of `templates/cpu`, the function each exports, and whether it has a relaxed SIMD variant. */
const files: Readonly<Record<string, { readonly fn: string; readonly relaxed: boolean }>> = {
  attention: { fn: "attention", relaxed: false },
  "cache-write": { fn: "cacheWrite", relaxed: false },
  "dense-matmul": { fn: "denseMatmul", relaxed: false },
  embedding: { fn: "embedding", relaxed: false },
  "int8-matmul": { fn: "int8Matmul", relaxed: false },
  quantize: { fn: "quantize", relaxed: false },
  "rms-norm": { fn: "rmsNorm", relaxed: false },
  rope: { fn: "rope", relaxed: false },
  softmax: { fn: "softmax", relaxed: false },
  "ternary-dense-matmul": { fn: "ternaryDenseMatmul", relaxed: false },
  "ternary-matmul": { fn: "ternaryMatmul", relaxed: true },
};

let parts: Promise<{ readonly templates: Templates; readonly code: TargetCode }> | undefined;

/** The CPU class of targets: kernels over a range of items for each thread, with v128 lanes. */
export async function cpuTarget(name: string): Promise<Target> {
  parts ??= loadParts();
  return { name, rules: cpuRules, ...(await parts) };
}

async function loadParts() {
  const templates: Templates = new Map(
    await Promise.all(
      Object.entries(files).map(async ([file, { fn, relaxed }]) => {
        const template = await loadTemplate(templatePath(`cpu/${file}.ts`), fn);
        return [file, { template, source: `templates/cpu/${file}.ts`, relaxed }] as const;
      }),
    ),
  );
  const code = { one: scalarLanes(await mathHelpers("")), many: vectorLanes(await mathHelpers("4")) };
  return { templates, code };
}

async function mathHelpers(suffix: "" | "4"): Promise<MathHelpers> {
  const helpers: Partial<Record<MathFunction, KernelFunction>> = {};
  for (const fn of mathFunctions) {
    const template = await loadTemplate(templatePath("cpu/math.ts"), `${fn}${suffix}`);
    helpers[fn] = specialize(template, { name: `math_${fn}${suffix}` });
  }
  return helpers as MathHelpers;
}
