import { type Step, TENSOR_ALIGNMENT } from "../../runtime/manifest.ts";
import type { DraftStep } from "./draft.ts";
import { isMultiple } from "./symbols.ts";

/**
 * The arguments of each kernel, by position, that may start between the multiples at which tensors and bindings do.
 * Buffers of drafts lie at such multiples, so that what is unaligned is so before and after these are placed.
 */
export function unalignedArguments(
  steps: readonly (Pick<Step, "kernel" | "arguments"> | Pick<DraftStep, "kernel" | "arguments">)[],
): ReadonlyMap<string, ReadonlySet<number>> {
  const found = new Map<string, Set<number>>();
  for (const step of steps) {
    const positions = found.get(step.kernel) ?? new Set();
    for (const [position, argument] of step.arguments.entries()) {
      if (argument.kind === "buffer" && !isMultiple(argument.offset, TENSOR_ALIGNMENT))
        positions.add(position);
    }
    found.set(step.kernel, positions);
  }
  return found;
}
