import { type KernelFunction, storageBytes } from "../../codegen/kernel/ir.ts";
import type { Plan, PlannedKernel } from "../../codegen/schedule/plan.ts";
import { type CudaParameter, renderCuda } from "../../codegen/targets/cuda/render.ts";
import { BitloomError } from "../../errors/index.ts";
import type { CudaImage, CudaKernel, CudaTarget } from "../../runtime/manifest.ts";
import { invalidOption } from "../dsl/options.ts";
import type { ArtifactFolder } from "./artifact-folder.ts";
import { nvccArchitectures, nvccVersion, runNvcc } from "./nvcc.ts";
import { writeSelfCheck } from "./self-check/write.ts";

export interface WrittenCudaTarget {
  readonly target: CudaTarget;
  /** Size of the sources, or of the largest image. */
  readonly kernelBytes: number;
  /** Device memory with every symbol at its bound. */
  readonly memoryBytes: number;
  /** Who compiles the kernels. */
  readonly note: string;
}

/** How nvcc is called. */
export interface NvccWork {
  /** Names such as `sm_90`; none for sources alone. */
  readonly architectures: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly stage: string }) => void;
}

/** Asynchronous copies and products of bytes on tensor cores came with 8.0. */
const LEAST_CAPABILITY = 80;

/** @throws INVALID_OPTION unless they are names such as `sm_90`, of devices that can run the kernels */
export function checkArchitectures(names: readonly string[]): void {
  const isKnown = (name: unknown) => typeof name === "string" && capabilityOf(name) >= LEAST_CAPABILITY;
  if (Array.isArray(names) && names.every(isKnown) && new Set(names).size === names.length) return;
  throw invalidOption("cudaArchitectures", `names from sm_${LEAST_CAPABILITY} on, each once`, names);
}

/** The compute capability of `sm_90` as 90; not a number for other names. */
function capabilityOf(name: string): number {
  return Number(/^sm_(\d{2,3})$/.exec(name)?.[1]);
}

/** The body that CUDA devices run: all of them have warps. */
export function cudaBody({ variants }: PlannedKernel): KernelFunction {
  return variants.subgroups ?? variants.baseline;
}

/**
 * Writes each kernel of a plan as CUDA C, and what nvcc makes of all of them where this machine has it: machine code
 * for each architecture, and PTX of the least one for devices that are newer.
 *
 * @throws BitloomError INVALID_OPTION for an architecture that nvcc does not know, ASSEMBLE_FAILED with what it says, ABORTED
 */
export async function writeCudaTarget(
  folder: Pick<ArtifactFolder, "write">,
  plan: Plan,
  work: NvccWork,
): Promise<WrittenCudaTarget> {
  const { kernels: planned, plans, arena, checks } = plan.targets.cuda!;
  const selfCheck = checks && (await writeSelfCheck(folder, "cuda", checks));
  const { io, state, weights } = plan.regions;
  const kernels: CudaKernel[] = [];
  const texts: string[] = [];
  for (const kernel of planned) {
    const { text, parameters, ...shape } = renderCuda(cudaBody(kernel));
    const source = `kernels/${kernel.name}.cu`;
    await folder.write(source, text);
    texts.push(text);
    kernels.push({
      name: kernel.name,
      template: kernel.template,
      parameters: kernel.parameters.map(({ name }) => name),
      kind: kernel.variants.baseline.workgroupSize === undefined ? "range" : "workgroup",
      source,
      ...shape,
      launch: parameters.map(launchParameter),
    });
  }
  const source = texts.join("\n");
  const compiled = await compileImages(folder, source, work);
  return {
    target: {
      arena: arena.bytes,
      computeCapability: LEAST_CAPABILITY,
      kernels,
      images: compiled.images,
      plans,
      ...(selfCheck && { selfCheck }),
    },
    kernelBytes: compiled.bytes ?? source.length,
    memoryBytes: io + arena.bytes + state + weights,
    note: compiled.note,
  };
}

function launchParameter(parameter: CudaParameter): CudaKernel["launch"][number] {
  return parameter.kind === "buffer" ? { ...parameter, element: storageBytes(parameter.element) } : parameter;
}

async function compileImages(
  folder: Pick<ArtifactFolder, "write">,
  source: string,
  { architectures, signal, onProgress }: NvccWork,
): Promise<{ readonly images: CudaImage[]; readonly bytes?: number; readonly note: string }> {
  const version = architectures.length === 0 ? undefined : await nvccVersion();
  if (version === undefined) {
    const why = architectures.length === 0 ? "as asked" : "as there is no nvcc on this machine";
    return { images: [], note: `sources alone, ${why}: kernels are compiled when they are loaded, by NVRTC` };
  }
  const known = await nvccArchitectures();
  const unknown = architectures.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new BitloomError("INVALID_OPTION", `nvcc ${version} does not know the architecture ${unknown}`, {
      expected: known.filter((name) => capabilityOf(name) >= LEAST_CAPABILITY).join(", "),
      received: unknown,
      hint: "Cards that are newer than nvcc compile the PTX of an older architecture when they load it.",
    });
  }
  const capabilities = architectures.map(capabilityOf);
  const wanted = [
    ...capabilities.map((computeCapability) => ({ kind: "cubin", computeCapability }) as const),
    { kind: "ptx", computeCapability: Math.min(...capabilities) } as const,
  ];
  const images: CudaImage[] = [];
  let largest = 0;
  for (const image of wanted) {
    const prefix = image.kind === "cubin" ? "sm" : "compute";
    const architecture = `${prefix}_${image.computeCapability}`;
    onProgress?.({ stage: `nvcc compiles for ${architecture}` });
    const { bytes } = await runNvcc(source, { kind: image.kind, architecture }, [], signal);
    const path = `kernels.${architecture}.${image.kind}`;
    await folder.write(path, bytes);
    images.push({ ...image, path });
    largest = Math.max(largest, bytes.length);
  }
  return {
    images,
    bytes: largest,
    note: `nvcc ${version} made code for ${architectures.join(", ")}, and PTX`,
  };
}
