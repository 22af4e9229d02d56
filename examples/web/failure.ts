import { BitloomError, type ErrorCode } from "bitloom/runtime";

/** An error, as far as it can cross to the page. */
export interface Failure {
  /** Absent where the error is not one of Bitloom's. */
  readonly code: ErrorCode | undefined;
  readonly summary: string;
  readonly hint?: string | undefined;
  readonly expected?: string | undefined;
  readonly received?: string | undefined;
  readonly location?: string | undefined;
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof BitloomError)) return { code: undefined, summary: String(error) };
  const { code, hint, expected, received, location } = error;
  // The message is the summary, its code, and then the other properties, a line each.
  const [summary] = error.message.split(` [${code}]`, 1) as [string];
  return { code, summary, hint, expected, received, location };
}
