import { expect, it } from "vitest";
import { formatBytes, formatDuration, formatTable } from "./format.ts";

it("keeps three significant digits of bytes", () => {
  expect([0, 999, 1000, 12_345, 999_600, 521_000_000, 1.5e9, 2e15].map(formatBytes)).toEqual([
    "0 B",
    "999 B",
    "1 kB",
    "12.3 kB",
    "1 MB",
    "521 MB",
    "1.5 GB",
    "2000 TB",
  ]);
});

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
