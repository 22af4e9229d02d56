import type { BitloomError } from "../../errors/index.ts";
import { type Dim, symbolPattern } from "../../ir/types.ts";
import { located } from "./located.ts";

/** Everything here throws INVALID_OPTION with the option, what it takes, what came, and the user's line. */
export function invalidOption(
  option: string,
  expected: string,
  received: unknown,
  hint = "Change it to what is expected.",
): BitloomError {
  return located("INVALID_OPTION", `${option} is not valid`, {
    expected,
    received: describe(received),
    hint,
  });
}

/** What an option takes, for checks and errors. */
export interface OptionRow {
  /** In words: a type, a range. */
  readonly takes: string;
  /** In words; absent where the option has to be given. */
  readonly default?: string;
  /** A value, as TypeScript writes it. */
  readonly example: string;
  readonly isValid: (value: unknown) => boolean;
}

export type OptionRows<Options> = { readonly [Name in keyof Options]-?: OptionRow };

/**
 * Holds options against their rows: what is unknown, what is missing, and what each may be.
 * @param owner whom errors name before an option; by default nobody
 */
export function checkOptions<Options extends object>(
  options: Options,
  rows: OptionRows<Options>,
  owner?: string,
): void {
  knownOptions(owner, options, Object.keys(rows));
  const entries = Object.entries<OptionRow>(rows);
  const given = (name: string) => options[name as keyof Options];
  const missing = entries.filter(([name, row]) => row.default === undefined && given(name) === undefined);
  if (missing.length > 0) {
    const names = missing.map(([name]) => name);
    const examples = missing.map(([name, { example }]) => `${name}: ${example}`);
    const hint = `For example ${examples.join(", ")}.`;
    throw invalidOption(owner ?? "options", `${names.join(", ")} besides`, options, hint);
  }
  for (const [name, row] of entries) {
    const value = given(name);
    if (value === undefined || row.isValid(value)) continue;
    throw invalidOption(ownedBy(owner, name), row.takes, value, hintOf(name, row));
  }
}

function ownedBy(owner: string | undefined, name: string): string {
  if (owner === undefined) return name;
  return `${owner}${owner.includes(":") ? "." : ": "}${name}`;
}

/** An example of an option, and what it is if it is left out. */
export function hintOf(name: string, { default: otherwise, example }: OptionRow): string {
  const beside = otherwise === undefined ? "" : `; left out, it is ${otherwise}`;
  return `For example ${name}: ${example}${beside}.`;
}

export const isObject = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const isPositiveInteger = (value: unknown): boolean =>
  Number.isSafeInteger(value) && Number(value) >= 1;
export const isPositiveNumber = (value: unknown): boolean => Number.isFinite(value) && Number(value) > 0;

/** Whether a value can be one of a tensor's dims: a length, or the name of one. */
export function isDim(value: unknown): value is Dim {
  return typeof value === "string"
    ? symbolPattern.test(value)
    : Number.isSafeInteger(value) && Number(value) >= 1;
}

/** A length, a count: an integer of at least 1. */
export function positiveInteger(option: string, value: number): number {
  if (!isPositiveInteger(value)) throw invalidOption(option, "an integer of at least 1", value);
  return value;
}

export function positiveNumber(option: string, value: number): number {
  if (!isPositiveNumber(value)) throw invalidOption(option, "a finite number above 0", value);
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
export function knownOptions(owner: string | undefined, options: object, known: readonly string[]): void {
  if (!isObject(options)) {
    throw invalidOption(ownedBy(owner, "options"), `an object of ${known.join(", ")}`, options);
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const near = nearest(key, known);
    const hint = near === undefined ? "There is no such option; leave it out." : `Did you mean ${near}?`;
    throw invalidOption(ownedBy(owner, key), `one of ${known.join(", ")}`, key, hint);
  }
}

/** The word that takes the fewest changes of a letter, at most a third of them, or the first that begins or ends it. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const distances = words.map((other) => [distance(word.toLowerCase(), other.toLowerCase()), other] as const);
  const [least, other] = distances.reduce((a, b) => (b[0] < a[0] ? b : a), [Infinity, ""] as const);
  if (least <= Math.max(1, word.length / 3)) return other;
  return words.find((one) => {
    const [a, b] = [word.toLowerCase(), one.toLowerCase()];
    return b.length >= 4 && (a.startsWith(b) || a.endsWith(b));
  });
}

/** Letters to insert, remove or replace (Levenshtein 1965). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}

/** The text of a short one, which is what can be mended. */
function describeFunction(value: { readonly name: string }): string {
  const text = String(value).replace(/\s+/g, " ");
  if (text.length <= 80) return `the function ${text}`;
  return value.name === "" ? "a function" : `a function (${value.name})`;
}

/** A value as an error message shows it. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "function") return describeFunction(value);
  if (Array.isArray(value)) return `[${value.map(describe).join(", ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Promise) return "a Promise";
  // Tensors and errors say what they are; a plain object does not.
  const text = value.toString === Object.prototype.toString ? "" : String(value);
  return text === ""
    ? `an object with ${Object.keys(value).join(", ") || "nothing in it"}`
    : `an object ${text}`;
}
