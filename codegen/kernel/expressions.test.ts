import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { compileKernel } from "../../test/support/kernel-text.ts";
import {
  constantVariables,
  randomExpressions,
  randomVariables,
  type Sample,
  type Variables,
} from "../../test/support/random-expression.ts";

const { i32, f32 } = randomExpressions({ exactFloats: false });
const inputs = randomVariables({ exactFloats: false });

async function agrees(type: "i32" | "f32", samples: Sample[], variables: Variables): Promise<void> {
  // One module for many expressions; as run-time values, and again as constants that fold.
  const size = 4;
  const stores = samples.map(({ text }, i) => `out[${i}] = ${text};`).join("\n");
  const { a, b, u, x, y } = variables;
  const atRunTime = `export function kernel(out: Buffer<${type}>, a: i32, b: i32, u: u32, x: f32, y: f32) {\n${stores}\n}`;
  const folded = `export function kernel(out: Buffer<${type}>) {\n${constantVariables(variables)}\n${stores}\n}`;
  const expected = samples.map(({ value }) => value(variables));
  for (const text of [atRunTime, folded]) {
    const { memory, run } = await compileKernel(text);
    if (text === folded) run(4096);
    else run(4096, a, b, u, x, y);
    const received = type === "i32" ? Int32Array : Float32Array;
    const out = [...new received(memory.buffer, 4096, samples.length * (size / 4))];
    samples.forEach((sample, i) => {
      expect(out[i], `${sample.text} with ${Object.entries(variables).join()}`).toBe(expected[i]);
    });
  }
}

describe("random expressions compute what JavaScript does with rounding at every step", () => {
  test.prop([fc.array(i32, { minLength: 1, maxLength: 30 }), inputs], { numRuns: 60, endOnFailure: true })(
    "i32",
    async (samples, v) => {
      await agrees("i32", samples, v);
    },
  );
  test.prop([fc.array(f32, { minLength: 1, maxLength: 30 }), inputs], { numRuns: 60, endOnFailure: true })(
    "f32",
    async (samples, v) => {
      await agrees("f32", samples, v);
    },
  );
});
