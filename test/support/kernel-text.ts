/** Compiles kernels written in a test's own text and runs them over one small memory. */
import { parseTemplate, type Specialization, specialize } from "../../codegen/kernel/frontend.ts";
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

const VOCABULARY =
  "bits, convert, f32x4, f64x2, i16x8, i32x4, i64x2, i8x16, math, registers, select, shuffle, unroll, v128";

/** Both at once. */
export async function compileKernel(
  text: string,
  options?: Specialization["options"],
): Promise<KernelInstance> {
  return instantiateKernel(await parseKernel(text, options));
}
