import { describe, expect, test } from "vitest";
import { memorySource } from "./source.ts";

const a = memorySource(new Map([["w", { dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]));
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
