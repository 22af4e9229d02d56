import { expect, it } from "vitest";
import { formatBytes } from "./bytes.ts";

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
