import type { Storage } from "./draft.ts";
import type { DraftEntry } from "./entry.ts";
import type { KernelLibrary } from "./library.ts";

/** Why something is computed: for outputs, by name, and to be kept in a state. */
interface Need {
  readonly outputs: Set<string>;
  isKept: boolean;
}

/**
 * For each step the outputs that it is for, or undefined where every call needs it because a state keeps what follows
 * from it. Found from the last step to the first: a step is for what its results are for.
 */
export function servedOutputs(
  { steps, outputs }: DraftEntry,
  library: KernelLibrary,
): readonly (readonly string[] | undefined)[] {
  const needs = new Map<Storage | number, Need>();
  const needOf = (key: Storage | number): Need => {
    const known = needs.get(key) ?? { outputs: new Set(), isKept: false };
    needs.set(key, known);
    return known;
  };
  for (const { name, offset } of outputs) needOf(offset).outputs.add(name);
  const served = steps.toReversed().map((step) => {
    const own: Need = { outputs: new Set(), isKept: false };
    const accesses = library.accesses(step);
    for (const { argument, access } of accesses) {
      const { storage } = argument;
      if (access === "read") continue;
      if (storage.region === "state") own.isKept = true;
      add(needOf(keyOf(storage)), own);
    }
    for (const { argument, access } of accesses) {
      const { storage } = argument;
      if (access !== "write" && storage.region !== "weights") add(own, needOf(keyOf(storage)));
    }
    return own.isKept ? undefined : outputs.map(({ name }) => name).filter((name) => own.outputs.has(name));
  });
  return served.reverse();
}

/** Inputs and outputs that share a place share what they are for. */
function keyOf(storage: Storage): Storage | number {
  return storage.region === "io" ? storage.offset! : storage;
}

function add(from: Need, to: Need): void {
  for (const name of from.outputs) to.outputs.add(name);
  to.isKept ||= from.isKept;
}
