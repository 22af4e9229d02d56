import { BitloomError } from "../../../errors/index.ts";
import type { KernelFunction } from "../../kernel/ir.ts";
import { renderFunction } from "./render.ts";

/**
 * Kernels and the helpers they call as WAT functions, helpers first and each once.
 * @throws ASSEMBLE_FAILED if two different functions have one name.
 */
export function renderFunctions(kernels: readonly KernelFunction[], indent = "  "): string[] {
  const texts = new Map<string, string>();
  const add = (fn: KernelFunction): void => {
    for (const helper of fn.helpers) add(helper);
    const text = renderFunction(fn, indent);
    const known = texts.get(fn.name);
    if (known !== undefined && known !== text) {
      throw new BitloomError("ASSEMBLE_FAILED", `two different kernel functions are called ${fn.name}`);
    }
    texts.set(fn.name, text);
  };
  for (const kernel of kernels) add(kernel);
  return [...texts.values()];
}

/** A module that exports each kernel by its name: for tests and checks of single kernels. Memory is `env.memory`. */
export function renderKernelModule(kernels: readonly KernelFunction[]): string {
  return [
    "(module",
    '  (import "env" "memory" (memory 1))',
    ...renderFunctions(kernels),
    ...kernels.map(({ name }) => `  (export "${name}" (func $${name}))`),
    ")\n",
  ].join("\n");
}
