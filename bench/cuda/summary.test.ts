import { expect, it } from "vitest";
import type { Finding } from "./records.ts";
import { jsonLines } from "./steps.ts";
import { summarize } from "./summary.ts";

const product = { rows: 512, n: 2560, k: 6912 };
const findings: readonly Finding[] = [
  { kind: "copy", by: "bitloom's kernel", bytesPerSecond: 1.5e12 },
  { kind: "copy", by: "PyTorch's copy_", bytesPerSecond: 2e12 },
  { kind: "ternary", rows: 1, n: 13824, k: 2560, microseconds: 5.53, bytesPerSecond: 1.6e12 },
  { kind: "ternary", ...product, microseconds: 40, bytesPerSecond: 1 },
  { kind: "int_mm", ...product, microseconds: 30 },
  {
    kind: "model",
    device: "cuda",
    head: "bf16",
    description: "a card",
    prefillTokens: 512,
    prefillTokensPerSecond: 9000,
    decodeTokensPerSecond: 1000,
    weightBytes: 1.2e9,
  },
  { kind: "check", name: "memcheck", passed: false, detail: "3 errors\nmore" },
  { kind: "check", name: "golden", passed: true },
];

it("shares are of the largest copy rate, and of PyTorch's time", () => {
  const text = summarize(findings, [
    { step: "PyTorch", status: "not here", seconds: 0, detail: "no python3" },
  ]);
  expect(text).toMatch(/13824 x 2560 +5\.53 µs +1600 GB\/s +80%/);
  expect(text).toMatch(/512 x 2560 x 6912 +40 µs +453 TOPS +int8 30 µs, 75% +bf16 not measured/);
  expect(text).toMatch(/decode: 1000\.0 tokens\/s +1200 GB\/s +60%/);
  expect(text).toMatch(/Checks: 1 of 2 passed\n +FAILED +memcheck +3 errors$/m);
  expect(text).toMatch(/PyTorch +not here +0 s +no python3/);
});

it("has no share of a rate that was not measured", () => {
  const text = summarize(findings.slice(2), []);
  expect(text).toMatch(/13824 x 2560 +5\.53 µs +1600 GB\/s$/m);
  expect(summarize([], [])).toBe("Checks: 0 of 0 passed");
});

it("reads what a program wrote until it was stopped", () => {
  const line = JSON.stringify(findings[0]);
  expect(jsonLines(`loading\n${line}\n{"kind":"cop`)).toEqual([findings[0]]);
});
