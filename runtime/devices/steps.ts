import type { Step } from "../manifest.ts";
import { evaluate, type SymbolValues } from "../symbols.ts";

/** Whether a step with this guard runs. @throws RangeError as `evaluate` */
export function holds(guard: Step["guard"], symbols: SymbolValues): boolean {
  if (guard === undefined) return true;
  const value = evaluate(guard.value, symbols);
  return guard.lower <= value && value <= guard.upper;
}

/** Whether a call that asks for these outputs needs a step that serves those; every call needs it if absent. */
export function isFor(serves: readonly string[] | undefined, outputs: readonly string[]): boolean {
  return serves === undefined || outputs.some((name) => serves.includes(name));
}
