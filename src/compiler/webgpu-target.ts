import { storageBytes } from "../../codegen/kernel/ir.ts";
import { unalignedArguments } from "../../codegen/schedule/alignment.ts";
import { type IsBound, weightBorders } from "../../codegen/schedule/borders.ts";
import type { Plan, PlannedKernel } from "../../codegen/schedule/plan.ts";
import { renderWgsl } from "../../codegen/targets/wgsl/render.ts";
import type { WebgpuKernel, WebgpuTarget, WebgpuVariant } from "../../runtime/manifest.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";
import { writeSelfCheck } from "./self-check/write.ts";

export interface WrittenWebgpuTarget {
  readonly target: WebgpuTarget;
  /** Size of all kernels in their largest variants. */
  readonly kernelBytes: number;
  /** Device memory with every symbol at its bound. */
  readonly memoryBytes: number;
}

/** Writes each kernel of a plan as WGSL, once for each choice of features that changes its text. */
export async function writeWebgpuTarget(
  folder: Pick<ArtifactFolder, "write">,
  plan: Plan,
): Promise<WrittenWebgpuTarget> {
  const { kernels: planned, plans, arena, checks } = plan.targets.webgpu!;
  const selfCheck = checks && (await writeSelfCheck(folder, "webgpu", checks));
  const steps = [
    ...Object.values(plans).flat(),
    ...(selfCheck?.checks.flatMap((check) => check.steps) ?? []),
  ];
  const { io, state, weights } = plan.regions;
  const offsets = unalignedArguments(steps);
  const kernels: WebgpuKernel[] = [];
  let kernelBytes = 0;
  for (const kernel of planned) {
    const rendered = renderVariants(kernel, offsets.get(kernel.name) ?? new Set());
    for (const { variant, text } of rendered) await folder.write(variant.source, text);
    kernelBytes += Math.max(...rendered.map(({ text }) => text.length));
    kernels.push({
      name: kernel.name,
      template: kernel.template,
      parameters: kernel.parameters.map(({ name }) => name),
      kind: kernel.variants.baseline.workgroupSize === undefined ? "range" : "workgroup",
      variants: rendered.map(({ variant }) => variant),
    });
  }
  const described = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  const isBound: IsBound = ({ kernel }, position) => {
    const { parameters, variants } = described.get(kernel)!;
    return variants.some(({ bindings }) =>
      bindings.some(({ parameter }) => parameter === parameters[position]),
    );
  };
  const slots = Object.values(plan.entries).flatMap(({ inputs, outputs }) => [...inputs, ...outputs]);
  const buffers = {
    io: starts([...slots.map(({ offset }) => offset), ...(checks?.borders.slice(0, -1) ?? [])]),
    arena: starts(arena.buffers),
    state: starts(plan.states.map(({ offset }) => offset)),
    weights: [...weightBorders(plans, weights, isBound)],
  };
  return {
    target: { arena: arena.bytes, buffers, kernels, plans, ...(selfCheck && { selfCheck }) },
    kernelBytes,
    memoryBytes: io + arena.bytes + state + weights,
  };
}

function starts(offsets: readonly number[]): number[] {
  return [...new Set([0, ...offsets])].sort((a, b) => a - b);
}

interface RenderedVariant {
  readonly variant: WebgpuVariant;
  readonly text: string;
}

/** A kernel's variants, those that ask most of a device first, each text once. */
function renderVariants(
  { name, parameters, variants }: PlannedKernel,
  unaligned: ReadonlySet<number>,
): RenderedVariant[] {
  const offset = new Set([...unaligned].map((position) => parameters[position]!.name));
  const rendered = new Map<string, RenderedVariant>();
  for (const body of [variants.subgroups, variants.baseline]) {
    if (body === undefined) continue;
    for (const packedDot of [true, false]) {
      const module = renderWgsl(body, { packedDot, offset });
      if (rendered.has(module.text)) continue;
      const requires: WebgpuVariant["requires"] = [
        ...(module.usesSubgroups ? (["subgroups"] as const) : []),
        ...(module.usesPackedDot ? (["packedDot"] as const) : []),
      ];
      const suffix = requires.map((feature) => (feature === "subgroups" ? ".subgroups" : ".dot4")).join("");
      const variant: WebgpuVariant = {
        requires,
        source: `kernels/${name}${suffix}.wgsl`,
        workgroupSize: module.workgroupSize,
        bindings: module.bindings.map(({ parameter, access, element }) => ({
          parameter,
          access,
          element: storageBytes(element),
        })),
        uniforms: [...module.uniforms],
      };
      rendered.set(module.text, { variant, text: module.text });
    }
  }
  return [...rendered.values()];
}
