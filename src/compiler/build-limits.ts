import type { TargetName } from "../../codegen/schedule/plan.ts";
import { targetNames } from "../../codegen/schedule/schedule.ts";
import { DEFAULT_MAX_THREADS, WASM_MAX_THREADS } from "../../runtime/manifest.ts";
import { invalidOption } from "../dsl/options.ts";

/** What every build is for. */
export interface BuildLimits {
  /** What to compile for. Default: `wasm` alone. */
  readonly targets?: readonly TargetName[];
  /** Most threads a session may use; each has its own scratch memory. Default 32. */
  readonly maxThreads?: number;
}

/** The limits with defaults. @throws BitloomError INVALID_OPTION */
export function buildLimits({
  targets = ["wasm"],
  maxThreads = DEFAULT_MAX_THREADS,
}: BuildLimits): Required<BuildLimits> {
  const known = Array.isArray(targets) && targets.every((target) => targetNames.includes(target));
  if (!known || targets.length === 0 || new Set(targets).size < targets.length) {
    throw invalidOption("targets", `one or more of ${targetNames.join(", ")}, each once`, targets);
  }
  if (!Number.isInteger(maxThreads) || maxThreads < 1 || maxThreads > WASM_MAX_THREADS) {
    throw invalidOption("maxThreads", `a whole number from 1 to ${WASM_MAX_THREADS}`, maxThreads);
  }
  return { targets, maxThreads };
}
