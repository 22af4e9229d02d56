import { BitloomError } from "../../errors/index.ts";

/** The flags that set the options of `compile`, `load` and `generate`, by what errors call these. */
const flags: ReadonlyMap<string, string> = new Map([
  ["out", "--out"],
  ["subln", "--subln"],
  ["head", "--head"],
  ["targets", "--target"],
  ["cudaArchitectures", "--arch"],
  ["maxThreads", "--max-threads"],
  ["contextLength", "--context"],
  ["bounds.chunk", "--chunk"],
  ["symbols: seq.max", "--chunk"],
  ["symbols: seq", "--chunk"],
  ["symbols: batch.max", "--batch"],
  ["symbols: batch", "--batch"],
  ["threads", "--threads"],
  ["device", "--device"],
  ["maxTokens", "--max-tokens"],
  ["temperature", "--temperature"],
  ["topK", "--top-k"],
  ["topP", "--top-p"],
  ["minP", "--min-p"],
  ["repetitionPenalty", "--repetition-penalty"],
  ["seed", "--seed"],
]);

/**
 * The error as somebody at a command line knows it: an option by its flag. One with a place in the user's own
 * code is about that code, and stays.
 */
export function inFlags(error: BitloomError): BitloomError {
  if (error.code !== "INVALID_OPTION" || error.location !== undefined) return error;
  const [, written, quoted] =
    /^(?:(.+) is not valid|The option `(.+)` is invalid) \[/.exec(error.message) ?? [];
  const flag = flags.get(written ?? quoted ?? "");
  if (flag === undefined) return error;
  return new BitloomError("INVALID_OPTION", `${flag} is not valid`, {
    ...(error.expected !== undefined && { expected: error.expected }),
    ...(error.received !== undefined && { received: error.received }),
    hint: "`--help` after a command explains its options.",
    cause: error.cause,
  });
}
