import { expect, it } from "vitest";
import { formatDuration, formatTable } from "./format.ts";

it("chooses the unit of a duration by its size", () => {
  expect([1.23, 740.4, 12_300, 125_000].map(formatDuration)).toEqual([
    "1.2 ms",
    "740 ms",
    "12.3 s",
    "2 min 05 s",
  ]);
});

it("aligns numbers to the right and words to the left", () => {
  expect(
    formatTable([
      ["a", "7 kB"],
      ["long", "12.5 kB"],
    ]),
  ).toBe("  a        7 kB\n  long  12.5 kB");
});
