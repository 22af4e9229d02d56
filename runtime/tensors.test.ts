import { fc, it as property } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import type { Entry } from "./manifest.ts";
import { bindInputs } from "./tensors.ts";

const entry: Entry = {
  inputs: [
    { name: "x", dtype: "f32", dims: ["batch", "seq", 4], offset: 0, bytes: 4 * 3 * 5 * 4 },
    { name: "lengths", dtype: "i32", dims: ["batch"], offset: 240, bytes: 12 },
  ],
  outputs: [],
  symbols: { batch: 3, seq: 5 },
};

const fails = (inputs: Record<string, unknown>) => {
  try {
    bindInputs(entry, inputs as never);
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("bindInputs", () => {
  property.prop([fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 })])(
    "solves symbols from shapes and bare arrays alike",
    (batch, seq) => {
      const data = new Float32Array(batch * seq * 4);
      const shaped = { x: { data, dims: [batch, seq, 4] }, lengths: new Int32Array(batch) };
      const bare = { x: data, lengths: { data: new Int32Array(batch), dims: [batch] } };
      for (const inputs of [shaped, bare]) {
        expect(Object.fromEntries(bindInputs(entry, inputs).symbols)).toEqual({ batch, seq });
      }
    },
  );

  it("refuses a symbol below what the entry was planned for", () => {
    const short = (seq: number) => {
      const data = new Float32Array(seq * 4);
      return () =>
        bindInputs(
          { ...entry, minimums: { seq: 3 } },
          { x: { data, dims: [1, seq, 4] }, lengths: new Int32Array(1) },
        );
    };
    expect(short(3)().symbols.get("seq")).toBe(3);
    expect(short(2)).toThrow(expect.objectContaining({ code: "INVALID_INPUT", received: "f32[1, 2, 4]" }));
  });

  const x = (...dims: number[]) => ({ data: new Float32Array(dims.reduce((a, b) => a * b, 1)), dims });
  it.each([
    ["a missing input", { lengths: new Int32Array(1) }, "f32[batch, seq, 4]", "nothing"],
    ["an unknown input", { x: x(1, 1, 4), lengths: new Int32Array(1), y: x(1) }, "one of x, lengths", "y"],
    [
      "an inherited name",
      { x: x(1, 1, 4), lengths: new Int32Array(1), toString: x(1) },
      "one of x, lengths",
      "toString",
    ],
    [
      "another dtype",
      { x: x(1, 1, 4), lengths: new Float32Array(1) },
      "Int32Array for i32[batch]",
      "Float32Array",
    ],
    ["no typed array", { x: x(1, 1, 4), lengths: [1] }, "Int32Array for i32[batch]", "a plain array"],
    ["nothing in place of a tensor", { x: x(1, 1, 4), lengths: null }, "Int32Array", "null"],
    [
      "dims that are no list",
      { x: { data: new Float32Array(4), dims: 4 }, lengths: new Int32Array(1) },
      "dims of f32[batch, seq, 4]",
      "4",
    ],
    ["another rank", { x: x(1, 4), lengths: new Int32Array(1) }, "f32[batch, seq, 4]", "f32[1, 4]"],
    [
      "another literal dim",
      { x: x(1, 1, 5), lengths: new Int32Array(1) },
      "f32[batch, seq, 4]",
      "f32[1, 1, 5]",
    ],
    ["too large a symbol", { x: x(4, 1, 4), lengths: new Int32Array(4) }, "1 <= batch <= 3", "f32[4, 1, 4]"],
    ["an empty batch", { x: x(0, 1, 4), lengths: new Int32Array(0) }, "1 <= batch <= 3", "f32[0, 1, 4]"],
    ["symbols that differ", { x: x(2, 1, 4), lengths: new Int32Array(3) }, "2 elements", "3 elements"],
    [
      "symbols that differ between shapes",
      { x: x(2, 1, 4), lengths: { data: new Int32Array(3), dims: [3] } },
      "batch = 2",
      "i32[3]",
    ],
    [
      "too few elements for the shape",
      { x: { data: new Float32Array(7), dims: [1, 2, 4] }, lengths: new Int32Array(1) },
      "8 elements for f32[1, 2, 4]",
      "7 elements",
    ],
    [
      "a fraction of a row",
      { x: new Float32Array(6), lengths: { data: new Int32Array(1), dims: [1] } },
      "multiple of 4",
      "6 elements",
    ],
    [
      "a fraction for a dim",
      { x: { data: new Float32Array(6), dims: [1, 1.5, 4] }, lengths: new Int32Array(1) },
      "f32[",
      "1.5",
    ],
    [
      "two open dims in a bare array",
      { x: new Float32Array(8), lengths: new Int32Array(1) },
      "{ data, dims }",
      "8 elements",
    ],
  ])("refuses %s, naming both sides", (_, inputs, expected, received) => {
    expect(fails(inputs)).toMatchObject({
      code: "INVALID_INPUT",
      expected: expect.stringContaining(expected),
      received: expect.stringContaining(received),
    });
  });
});
