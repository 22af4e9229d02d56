import { BitloomError, type BitloomErrorOptions, type ErrorCode } from "../../errors/index.ts";
import { formatLocation, type SourceLocation } from "../../ir/graph.ts";
import { callerLocation, userFrame } from "./location.ts";

/** An error that names the user's line: the one given, or the one that called. */
export function located(
  code: ErrorCode,
  summary: string,
  options: BitloomErrorOptions = {},
  location: SourceLocation | undefined = callerLocation(),
): BitloomError {
  return new BitloomError(code, summary, {
    ...options,
    ...(location && { location: formatLocation(location) }),
  });
}

/**
 * INVALID_MODEL for what the user's code threw, with the line that threw it. Errors that are coded already
 * come back as they are.
 */
export function userError(summary: string, cause: unknown): BitloomError {
  if (cause instanceof BitloomError) return cause;
  const location = cause instanceof Error ? userFrame(cause.stack ?? "", import.meta.url) : undefined;
  return new BitloomError("INVALID_MODEL", summary, {
    received: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause),
    ...(location && { location: formatLocation(location) }),
    hint: "This is the model's own code, which ran to learn what it computes; mend it where it stopped.",
    cause,
  });
}
