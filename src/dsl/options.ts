import type { BitloomError } from "../../errors/index.ts";
import { type Dim, symbolPattern } from "../../ir/types.ts";
import { located } from "./located.ts";

/** Everything here throws INVALID_OPTION with the option, what it takes, what came, and the user's line. */
export function invalidOption(option: string, expected: string, received: unknown): BitloomError {
  return located("INVALID_OPTION", `${option} is not valid`, {
    expected,
    received: describe(received),
    hint: "See the option's documentation in your editor.",
  });
}

/** Whether a value can be one of a tensor's dims: a length, or the name of one. */
export function isDim(value: unknown): value is Dim {
  return typeof value === "string"
    ? symbolPattern.test(value)
    : Number.isSafeInteger(value) && Number(value) >= 1;
}

/** A length, a count: an integer of at least 1. */
export function positiveInteger(option: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw invalidOption(option, "an integer of at least 1", value);
  return value;
}

export function positiveNumber(option: string, value: number): number {
  if (!(Number.isFinite(value) && value > 0)) throw invalidOption(option, "a finite number above 0", value);
  return value;
}

export function requirePath(option: string, value: string): void {
  if (typeof value !== "string" || value === "") throw invalidOption(option, "a path", value);
}

export function oneOf<const T>(option: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((choice) => choice === value);
  if (found === undefined) throw invalidOption(option, allowed.map(describe).join(" or "), value);
  return found;
}

/** Refuses what are no options and misspelt ones, which TypeScript would have caught. */
export function knownOptions(owner: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalidOption(`${owner}: options`, `an object of ${known.join(", ")}`, options);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw invalidOption(`${owner}: ${key}`, `options ${known.join(", ")}`, key);
  }
}

/** A value as an error message shows it. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "function") return value.name === "" ? "a function" : `a function (${value.name})`;
  if (Array.isArray(value)) return `[${value.map(describe).join(", ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Promise) return "a Promise";
  // Tensors and errors say what they are; a plain object does not.
  const text = value.toString === Object.prototype.toString ? "" : String(value);
  return text === ""
    ? `an object with ${Object.keys(value).join(", ") || "nothing in it"}`
    : `an object ${text}`;
}
