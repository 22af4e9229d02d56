import { describe, expect, test } from "vitest";
import { errorOf, unchecked } from "../../test/support/errors.ts";
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
  test.each([
    ["an Int32Array for f32", { dims: [2], data: new Int32Array(2) }],
    ["floats for f16", { dims: [4], data: new Float32Array(2), form: { kind: "dense", dtype: "f16" } }],
    ["a plain array", { dims: [2], data: [1, 2] }],
    ["no array", { dims: [2] }],
    ["no dims", { data: new Float32Array(2) }],
    ["half a row", { dims: [0.5, 4], data: new Float32Array(2) }],
    ["an unknown dtype", { dims: [2], data: new Float32Array(2), form: { kind: "dense", dtype: "f64" } }],
    ["an unknown form", { dims: [2], data: new Float32Array(2), form: { kind: "sparse" } }],
    ["no form", { dims: [2], data: new Float32Array(2), form: null }],
    ["nothing", undefined],
    ["null", null],
  ])("refuse %s", (_, parameter) => {
    expect(errorOf(() => memorySource(new Map([["fc.weight", unchecked(parameter)]])))).toMatchObject({
      code: "INVALID_TENSOR",
      message: expect.stringContaining('"fc.weight"'),
    });
  });
  test.each([[undefined], [null], [{}], [[]]])("refuse %j in place of a map", (parameters) => {
    expect(errorOf(() => memorySource(unchecked(parameters))).code).toBe("INVALID_OPTION");
  });
  test("refuse an array of another length", () => {
    expect(() => memorySource(new Map([["w", { dims: [3], data: new Float32Array(2) }]]))).toThrow(
      /12 bytes/,
    );
  });
});
