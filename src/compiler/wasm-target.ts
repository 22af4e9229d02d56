import type { KernelFunction } from "../../codegen/kernel/ir.ts";
import type { Plan, PlannedKernel } from "../../codegen/schedule/plan.ts";
import { assemble } from "../../codegen/targets/wasm/assemble.ts";
import { renderKernelModule } from "../../codegen/targets/wasm/functions.ts";
import { mapMemory } from "../../codegen/targets/wasm/memory-map.ts";
import { renderModule } from "../../codegen/targets/wasm/module.ts";
import type { WasmFeatures } from "../../runtime/index.ts";
import type { WasmTarget } from "../../runtime/manifest.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";
import { writeSelfCheck } from "./self-check/write.ts";

export interface WrittenWasmTarget {
  readonly target: WasmTarget;
  /** Size of the largest module. */
  readonly kernelBytes: number;
  /** Linear memory with every symbol at its bound and as many threads as there may be. */
  readonly memoryBytes: number;
}

type ModuleVariant = keyof WasmTarget["modules"];

const modulePaths: Readonly<Record<ModuleVariant, string>> = {
  baseline: "kernels.wasm",
  relaxed: "kernels.simd-relaxed.wasm",
  baselineShared: "kernels.threads.wasm",
  relaxedShared: "kernels.threads.simd-relaxed.wasm",
};

const allVariants = Object.keys(modulePaths) as ModuleVariant[];

/** A kernel's body for engines with or without relaxed SIMD. */
export function bodyFor({ variants }: PlannedKernel, relaxed: boolean): KernelFunction {
  return (relaxed ? variants.relaxed : undefined) ?? variants.baseline;
}

/** The modules that an engine may run with all threads there may be; the baseline is for where relaxed SIMD is wrong. */
function variantsFor({ relaxedSimd, threads }: WasmFeatures, maxThreads: number): readonly ModuleVariant[] {
  return threads && maxThreads > 1
    ? ["baselineShared", ...(relaxedSimd ? (["relaxedShared"] as const) : [])]
    : ["baseline", ...(relaxedSimd ? (["relaxed"] as const) : [])];
}

/**
 * Writes the modules of a plan, four or those that `engine` may run, and each kernel as text that a person can read.
 */
export async function writeWasmTarget(
  folder: Pick<ArtifactFolder, "write">,
  plan: Plan,
  engine?: WasmFeatures,
): Promise<WrittenWasmTarget> {
  const symbolOrder = [
    ...new Set(Object.values(plan.entries).flatMap(({ symbols }) => Object.keys(symbols))),
  ];
  const outputs = Object.fromEntries(
    Object.entries(plan.entries).map(([name, entry]) => [name, entry.outputs.map((output) => output.name)]),
  );
  const memory = mapMemory(plan, symbolOrder);
  const { kernels: planned, plans, summaries, arena, checks } = plan.targets.wasm!;
  const selfCheck = checks && (await writeSelfCheck(folder, "wasm", checks));
  const checkPlans = selfCheck?.checks.map(({ name, steps }) => [name, steps] as const) ?? [];
  const waits = Object.fromEntries(Object.entries(summaries).map(([name, summary]) => [name, summary.waits]));
  let kernelBytes = 0;
  const variants = engine ? variantsFor(engine, plan.maxThreads) : allVariants;
  for (const variant of variants) {
    const path = modulePaths[variant];
    const wat = renderModule({
      kernels: planned.map((kernel) => bodyFor(kernel, variant.startsWith("relaxed"))),
      plans: { ...plans, ...Object.fromEntries(checkPlans) },
      waits,
      outputs,
      memory,
      symbolOrder,
      shared: variant.endsWith("Shared"),
    });
    const binary = await assemble(path, wat);
    kernelBytes = Math.max(kernelBytes, binary.length);
    await folder.write(path, binary);
  }
  const kernels: WasmTarget["kernels"] = [];
  for (const kernel of planned) {
    const { baseline, relaxed } = kernel.variants;
    await folder.write(sourcePath(kernel), renderKernelModule([baseline]));
    if (relaxed !== undefined) {
      await folder.write(sourcePath(kernel, ".simd-relaxed"), renderKernelModule([relaxed]));
    }
    kernels.push({ name: kernel.name, source: sourcePath(kernel), template: kernel.template });
  }
  return {
    target: {
      modules: Object.fromEntries(variants.map((variant) => [variant, modulePaths[variant]])),
      memory,
      symbolOrder,
      arena: arena.bytes,
      kernels,
      plans,
      ...(selfCheck && { selfCheck }),
    },
    kernelBytes,
    memoryBytes: memory.totalBytes,
  };
}

function sourcePath({ name }: PlannedKernel, variant = ""): string {
  return `kernels/${name}${variant}.wat`;
}
