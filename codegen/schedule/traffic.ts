import type { SymbolExpr } from "../../runtime/manifest.ts";
import type { PlacedArena } from "./arena.ts";
import type { DraftStep, Storage } from "./draft.ts";
import type { DraftEntry } from "./entry.ts";
import { touchingSteps, waits } from "./hazards.ts";
import type { BufferAccess, KernelLibrary } from "./library.ts";
import { align } from "./memory.ts";
import type { EntrySummary, StepTraffic } from "./plan.ts";
import { upperBound } from "./symbols.ts";

/**
 * What an entry moves through memory, how its temporaries share it and which steps wait for it.
 * @param served as `servedOutputs` finds them
 */
export function summarize(
  draft: DraftEntry,
  arena: PlacedArena,
  library: KernelLibrary,
  served: readonly (readonly string[] | undefined)[],
): EntrySummary {
  return {
    traffic: draft.steps.map((step) => traffic(step, library.accesses(step), draft)),
    waits: waits(touchingSteps(draft, library, served)),
    arena: {
      buffers: arena.buffers.length,
      unsharedBytes: arena.buffers.reduce((sum, { bytes }) => sum + align(bytes), 0),
      bytes: arena.bytes,
    },
  };
}

function traffic(step: DraftStep, accesses: readonly BufferAccess[], { graph }: DraftEntry): StepTraffic {
  if (step.guard && upperBound(step.guard.value, graph.symbols) > step.guard.upper) {
    return { weights: 0, read: 0, written: 0 };
  }
  const read = new Map<Storage, Map<string, number>>();
  const written = new Map<Storage, Map<string, number>>();
  for (const { argument, access } of accesses) {
    // An operand that is captured twice is read once.
    const note = (into: Map<Storage, Map<string, number>>, bytes: SymbolExpr) => {
      const parts = into.get(argument.storage) ?? new Map<string, number>();
      const most = upperBound(bytes, graph.symbols);
      into.set(argument.storage, parts.set(JSON.stringify(argument.offset), most));
    };
    if (access !== "write") note(read, argument.bytes);
    if (access !== "read") note(written, argument.written ?? argument.bytes);
  }
  const total = (from: Map<Storage, Map<string, number>>, counts: (storage: Storage) => boolean) =>
    [...from]
      .filter(([storage]) => counts(storage))
      .flatMap(([, parts]) => [...parts.values()])
      .reduce((sum, bytes) => sum + bytes, 0);
  const isWeight = (storage: Storage) => storage.region === "weights";
  return {
    weights: total(read, isWeight),
    read: total(read, (storage) => !isWeight(storage)),
    written: total(written, () => true),
  };
}
