import { expect, test } from "vitest";
import { checkOptions, knownOptions, type OptionRows } from "./options.ts";

const known = ["batch", "sequence", "learningRate", "heldOut"];

test.each([
  ["learningrate", "Did you mean learningRate?"],
  ["heldout", "Did you mean heldOut?"],
  ["sequnce", "Did you mean sequence?"],
  ["batchSize", "Did you mean batch?"],
  ["epochs", "There is no such option; leave it out."],
])("of an unknown option, the nearest is named: %s", (name, hint) => {
  expect(() => knownOptions("owner", { [name]: 1 }, known)).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION", received: `"${name}"`, hint }),
  );
});

const rows: OptionRows<{ readonly a: number; readonly b?: number }> = {
  a: { takes: "a number", example: "1", isValid: (value) => typeof value === "number" },
  b: { takes: "a number", example: "2", default: "3", isValid: (value) => typeof value === "number" },
};

test.each<[string, object, string, string]>([
  ["one that is missing", {}, "owner is not valid", "For example a: 1."],
  ["one that is another kind", { a: "1" }, "owner: a is not valid", "For example a: 1."],
  ["one with a default", { a: 1, b: null }, "owner: b is not valid", "For example b: 2; left out, it is 3."],
])("is refused with an example: %s", (_, options, message, hint) => {
  const checked = () => checkOptions(options as { a: number }, rows, "owner");
  expect(checked).toThrow(expect.objectContaining({ hint, message: expect.stringContaining(message) }));
});

test("what fits, and what is undefined, is taken", () => {
  checkOptions<{ a: number; b?: number | undefined }>({ a: 1, b: undefined }, rows, "owner");
});
