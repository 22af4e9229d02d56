import { type ErrorCode, hints } from "./codes.ts";

export type { ErrorCode };

export interface BitloomErrorOptions {
  /** What was needed, in words: a shape, a dtype, a byte count, a set of names. */
  readonly expected?: string;
  /** What came instead. */
  readonly received?: string;
  /** Where in the user's source or file: `model.ts:12:5`, `weights.safetensors byte 4096`. */
  readonly location?: string;
  /** What to do about it; the code's own hint when absent. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * Every failure Bitloom reports. `code` is stable and meant for programs; `message` is for people and
 * already contains what was expected, what came, where, and the hint.
 */
export class BitloomError extends Error {
  override readonly name = "BitloomError";
  readonly code: ErrorCode;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly location: string | undefined;
  readonly hint: string;

  constructor(code: ErrorCode, summary: string, options: BitloomErrorOptions = {}) {
    const hint = options.hint ?? hints[code];
    const lines = [`${summary} [${code}]`];
    if (options.expected !== undefined) lines.push(`  expected: ${options.expected}`);
    if (options.received !== undefined) lines.push(`  received: ${options.received}`);
    if (options.location !== undefined) lines.push(`  at: ${options.location}`);
    lines.push(`  hint: ${hint}`);
    super(lines.join("\n"), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.expected = options.expected;
    this.received = options.received;
    this.location = options.location;
    this.hint = hint;
  }
}
