/** Compiles kernels written in a test's own text and runs them over one small memory. */
import { parseTemplate, type Specialization, specialize } from "../../codegen/kernel/frontend.ts";
import * as vocabulary from "../../codegen/kernel/intrinsics.ts";
import type { KernelFunction } from "../../codegen/kernel/ir.ts";
import { assemble } from "../../codegen/targets/wasm/assemble.ts";
import { renderKernelModule } from "../../codegen/targets/wasm/functions.ts";

export interface KernelInstance {
  readonly memory: WebAssembly.Memory;
  /** The kernel; buffers are byte addresses. */
  readonly run: (...values: (number | bigint)[]) => number;
}

/** Instantiates a kernel over a memory of its own, one page long. */
export async function instantiateKernel(kernel: KernelFunction): Promise<KernelInstance> {
  const bytes = await assemble(kernel.name, renderKernelModule([kernel]));
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = await WebAssembly.instantiate(await WebAssembly.compile(bytes), { env: { memory } });
  return { memory, run: exports[kernel.name] as KernelInstance["run"] };
}

/** Specializes the exported function `kernel` of the text; the vocabulary is imported for it. */
export async function parseKernel(
  text: string,
  options: Specialization["options"] = {},
): Promise<KernelFunction> {
  const source = `import { ${VOCABULARY} } from "bitloom/kernel";\n${text}`;
  return specialize(await parseTemplate(source, "kernel", "/kernels/test.ts"), { name: "kernel", options });
}

const VOCABULARY = Object.keys(vocabulary).join(", ");

/** Both at once. */
export async function compileKernel(
  text: string,
  options?: Specialization["options"],
): Promise<KernelInstance> {
  return instantiateKernel(await parseKernel(text, options));
}
