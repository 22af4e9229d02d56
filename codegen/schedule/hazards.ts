/**
 * Which steps may run beside those before them. Two steps must not where one writes what the other reads or writes
 * (J. Hennessy and D. Patterson, Computer Architecture: read after write, write after read, write after write).
 */
import type { Region } from "../../runtime/manifest.ts";
import type { DraftEntry } from "./entry.ts";
import type { KernelLibrary } from "./library.ts";
import { upperBound } from "./symbols.ts";

/** Bytes `start .. end` of a region that a step reads or writes. */
export interface Touch {
  readonly region: Region;
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
}

export interface TouchingStep {
  readonly touches: readonly Touch[];
  /** Runs for some values of symbols only. */
  readonly isGuarded: boolean;
  /** Runs where one of these outputs is asked for; in every call if absent. */
  readonly serves: readonly string[] | undefined;
}

/**
 * What the steps of an entry touch: all of each buffer that they are given, once temporaries are placed.
 * @param served as `servedOutputs` finds them
 */
export function touchingSteps(
  { steps, graph }: DraftEntry,
  library: KernelLibrary,
  served: readonly (readonly string[] | undefined)[],
): TouchingStep[] {
  return steps.map((step, index) => {
    const touches = library.accesses(step).map(({ argument, access }): Touch => {
      const { region, offset, bytes } = argument.storage;
      const end = offset! + upperBound(bytes, graph.symbols);
      return { region, start: offset!, end, writes: access !== "read" };
    });
    return { touches, isGuarded: step.guard !== undefined, serves: served[index] };
  });
}

/**
 * For each step, whether it must wait until all steps before it are done. A step that does not run does not wait
 * either, so that later ones still have to wait for what was before it.
 */
export function waits(steps: readonly TouchingStep[]): boolean[] {
  const found: boolean[] = [];
  for (const [index, step] of steps.entries()) found.push(mustWait(step, steps.slice(0, index), found));
  return found;
}

function mustWait(step: TouchingStep, before: readonly TouchingStep[], waits: readonly boolean[]): boolean {
  for (let i = before.length - 1; i >= 0; i--) {
    if (conflict(before[i]!, step)) return true;
    if (waits[i] && runsWith(before[i]!, step)) return false;
  }
  return false;
}

/** Whether a step runs in every call in which another does. */
function runsWith({ isGuarded, serves }: TouchingStep, other: TouchingStep): boolean {
  if (isGuarded) return false;
  return serves === undefined || (other.serves?.every((output) => serves.includes(output)) ?? false);
}

function conflict(a: TouchingStep, b: TouchingStep): boolean {
  return a.touches.some((x) =>
    b.touches.some(
      (y) => (x.writes || y.writes) && x.region === y.region && x.start < y.end && y.start < x.end,
    ),
  );
}
