import { BitloomError } from "../errors/index.ts";

/** INVALID_OPTION naming the option, what it takes and what came. */
export function invalidOption(name: string, expected: string, received: unknown): BitloomError {
  return new BitloomError("INVALID_OPTION", `The option \`${name}\` is invalid`, {
    expected,
    received: describe(received),
  });
}

/**
 * What TypeScript would have caught of a call's options: no object, or names that nobody reads.
 * @throws BitloomError INVALID_OPTION
 */
export function checkOptions(owner: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalidOption(`options of ${owner}`, `an object of ${known.join(", ")}`, options);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new BitloomError("INVALID_OPTION", `${owner} has no option \`${name}\``, {
      expected: known.join(", "),
      received: name,
    });
  }
}

/** @throws BitloomError INVALID_OPTION for what cannot abort anything */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined || typeof signal?.addEventListener === "function") return;
  throw invalidOption("signal", "an AbortSignal", signal);
}

/** A value as an error message shows it: small ones whole, others by their kind. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "a plain array";
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const name = value.constructor?.name;
  return name === undefined || name === "Object" ? "a plain object" : name;
}
