import { expect, it } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import { inFlags } from "./flags.ts";

const error = (summary: string, location?: string) =>
  new BitloomError("INVALID_OPTION", summary, {
    expected: "less",
    received: "more",
    ...(location !== undefined && { location }),
  });

it.each([
  ["bounds.chunk is not valid", "--chunk"],
  ["maxThreads is not valid", "--max-threads"],
  ["symbols: batch is not valid", "--batch"],
  ["The option `topP` is invalid", "--top-p"],
])("calls what %s by its flag", (summary, flag) => {
  expect(inFlags(error(summary)).message).toMatch(
    new RegExp(
      `^${flag} is not valid \\[INVALID_OPTION\\]\n {2}expected: less\n {2}received: more\n {2}hint: `,
    ),
  );
});

it.each([
  error("contextLength is not valid", "model.ts:3:4"),
  error("bitLinear: inFeatures is not valid"),
  error("There is no prompt"),
  new BitloomError("MISSING_FILE", "out is not valid"),
])("leaves others as they are", (other) => {
  expect(inFlags(other)).toBe(other);
});
