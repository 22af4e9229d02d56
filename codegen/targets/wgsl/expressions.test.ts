import { fc, test } from "@fast-check/vitest";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { GpuHost } from "../../../test/support/gpu-host.ts";
import { parseKernel } from "../../../test/support/kernel-text.ts";
import {
  constantVariables,
  randomExpressions,
  randomVariables,
  type Sample,
  type Variables,
} from "../../../test/support/random-expression.ts";

let host: GpuHost;
beforeAll(async () => {
  host = await GpuHost.open();
});
afterAll(() => host.close());

const exactFloats = { exactFloats: true };
const { i32, u32, f32 } = randomExpressions(exactFloats);
const inputs = randomVariables(exactFloats);

/** The value, or undefined where it is not exact in f32. */
function exactValue(sample: Sample, variables: Variables): number | undefined {
  try {
    return sample.value(variables);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const arrays = { i32: Int32Array, u32: Uint32Array, f32: Float32Array };

async function agrees(type: keyof typeof arrays, samples: Sample[], variables: Variables): Promise<void> {
  const expected = samples.map((sample) => exactValue(sample, variables));
  // One module for many expressions; as run-time values, and again as constants that fold.
  const stores = samples.map(({ text }, i) => `out[${i}] = ${text};`).join("\n");
  const options = "options: Static<{ workgroupSize: number }>";
  const texts = [
    `export function kernel(${options}, out: Buffer<${type}>, a: i32, b: i32, u: u32, x: f32, y: f32) {\n${stores}\n}`,
    `export function kernel(${options}, out: Buffer<${type}>) {\n${constantVariables(variables)}\n${stores}\n}`,
  ];
  for (const text of texts) {
    const run = await host.load(await parseKernel(text, { workgroupSize: 1 }));
    const out = new arrays[type](samples.length);
    await run({ out, ...variables }, { workgroups: 1 });
    samples.forEach((sample, i) => {
      if (expected[i] === undefined) return;
      // Zeros of either sign are equal here: WGSL does not promise their signs.
      expect(out[i]! + 0, `${sample.text} with ${Object.entries(variables).join()}`).toBe(expected[i] + 0);
    });
  }
}

describe("random expressions compute what JavaScript does", () => {
  const some = (sample: fc.Arbitrary<Sample>) => fc.array(sample, { minLength: 1, maxLength: 30 });
  const runs = { numRuns: 25, endOnFailure: true };
  test.prop([some(i32), inputs], runs)("i32", (samples, v) => agrees("i32", samples, v));
  test.prop([some(u32), inputs], runs)("u32", (samples, v) => agrees("u32", samples, v));
  test.prop([some(f32), inputs], runs)("f32, where results are exact", (samples, v) =>
    agrees("f32", samples, v),
  );
});
