import { BitloomError } from "../../../errors/index.ts";
import type { WebgpuKernel, WebgpuTarget, WebgpuVariant } from "../../manifest.ts";
import type { WebgpuFeatures } from "./adapter.ts";
import { COMPUTE } from "./flags.ts";

/** A kernel in the variant this device runs. */
export interface CompiledKernel {
  readonly parameters: readonly string[];
  readonly kind: WebgpuKernel["kind"];
  readonly variant: WebgpuVariant;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

/** Files read at a time, so that a slow network's delays overlap. */
const READS_AT_ONCE = 4;

/** The first variant whose requirements the device meets. */
export function chooseVariant(
  { variants }: Pick<WebgpuKernel, "variants">,
  features: WebgpuFeatures,
): WebgpuVariant {
  return variants.find(({ requires }) => requires.every((feature) => features[feature])) ?? variants.at(-1)!;
}

/**
 * Reads and compiles every kernel of a target.
 * @throws BitloomError ASSEMBLE_FAILED naming the kernel and what the compiler says
 */
export async function compileKernels(
  device: GPUDevice,
  { kernels }: WebgpuTarget,
  features: WebgpuFeatures,
  readText: (path: string) => Promise<string>,
): Promise<ReadonlyMap<string, CompiledKernel>> {
  const layouts = new Map<string, GPUBindGroupLayout>();
  const layoutOf = ({ bindings, uniforms }: WebgpuVariant): GPUBindGroupLayout => {
    const types: GPUBufferBindingType[] = bindings.map(({ access }) =>
      access === "read" ? "read-only-storage" : "storage",
    );
    if (uniforms.length > 0) types.push("uniform");
    const key = types.join();
    const layout =
      layouts.get(key) ??
      device.createBindGroupLayout({
        entries: types.map((type, binding) => ({ binding, visibility: COMPUTE, buffer: { type } })),
      });
    layouts.set(key, layout);
    return layout;
  };
  const compiled: Promise<[string, CompiledKernel]>[] = [];
  const rest = kernels.values();
  const readOn = async (): Promise<void> => {
    for (const { name, parameters, kind, ...kernel } of rest) {
      const variant = chooseVariant(kernel, features);
      const layout = layoutOf(variant);
      const code = await readText(variant.source);
      const compiling = compile(device, name, variant.source, code, layout).then(
        (pipeline): [string, CompiledKernel] => [name, { parameters, kind, variant, layout, pipeline }],
      );
      // Awaited later; until then a failure is not unhandled.
      compiling.catch(() => undefined);
      compiled.push(compiling);
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, readOn));
  return new Map(await Promise.all(compiled));
}

async function compile(
  device: GPUDevice,
  name: string,
  source: string,
  code: string,
  layout: GPUBindGroupLayout,
): Promise<GPUComputePipeline> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code, label: name });
  const faulty = device.popErrorScope();
  const pipeline = device.createComputePipelineAsync({
    label: name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module },
  });
  try {
    return await pipeline;
  } catch (cause) {
    const said = (await faulty.catch(() => null))?.message ?? (cause as Error).message;
    throw new BitloomError("ASSEMBLE_FAILED", `The GPU's driver does not compile the kernel "${name}"`, {
      received: said,
      location: source,
      hint: "Use the wasm device, and report this with the artifact's kernels folder.",
      cause,
    });
  }
}
