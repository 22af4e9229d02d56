import { describe, expect, test } from "vitest";
import { memorySource, mergeSources } from "./source.ts";

const a = memorySource(new Map([["w", { dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]));
const b = memorySource(
  new Map([
    ["w", { dims: [1], data: Float32Array.of(9) }],
    [
      "p",
      {
        dims: [4, 2],
        data: Uint8Array.of(0b01, 0b10),
        form: { kind: "ternary-packed", scale: Float32Array.of(0.5), layout: "hf" },
      },
    ],
  ]),
);

describe("memory sources", () => {
  test("read any range", async () => {
    const into = new Uint8Array(8);
    await a.read("w", 4, into);
    expect([...new Float32Array(into.buffer)]).toEqual([2, 3]);
    await expect(a.read("w", 12, into)).rejects.toMatchObject({ code: "INVALID_TENSOR" });
    await expect(a.read("x", 0, into)).rejects.toMatchObject({ code: "MISSING_TENSOR" });
  });
  test("refuse an array of another length", () => {
    expect(() => memorySource(new Map([["w", { dims: [3], data: new Float32Array(2) }]]))).toThrow(
      /12 bytes/,
    );
  });
});

test("merged sources: the first that knows a path answers", async () => {
  const merged = mergeSources([a, b]);
  expect([...merged.paths()]).toEqual(["w", "p"]);
  expect(merged.info("w")?.dims).toEqual([2, 2]);
  const into = new Uint8Array(2);
  await merged.read("p", 0, into);
  expect([...into]).toEqual([1, 2]);
});
