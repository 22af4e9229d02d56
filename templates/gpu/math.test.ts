import { describe, test } from "vitest";
import { mathFunctions } from "../../codegen/schedule/lanes.ts";
import { GpuHost } from "../../test/support/gpu-host.ts";
import {
  expectLikeInterpreter,
  expectWithinUlps,
  functionSamples,
} from "../../test/support/kernels/functions.ts";

const host = GpuHost.open();
/** Devices may flush denormals to zero. */
const smallest = 2 ** -126;

async function evaluate(fn: string): Promise<Float32Array> {
  const kernel = await (await host).compileText(
    `import { type Buffer, type f32, type i32 } from "bitloom/kernel";
     import { ${fn} } from "./math.ts";
     export function apply(x: Buffer<f32>, out: Buffer<f32>, begin: i32, end: i32): void {
       for (let i = begin; i < end; i++) out[i] = ${fn}(x[i]!);
     }`,
    "apply",
  );
  const out = new Float32Array(functionSamples.length);
  await kernel({ x: functionSamples, out }, { range: functionSamples.length });
  return out;
}

describe.each([
  ["exp", 2],
  ["log", 2],
  ["tanh", 4],
  ["sigmoid", 4],
  ["erf", 4],
])("%s", (fn, ulps) => {
  test(`is within ${ulps} ulp on every sample`, async () => {
    expectWithinUlps(fn, await evaluate(fn), ulps, smallest);
  });
});

describe.each(mathFunctions)("%s", (fn) => {
  test("agrees with the reference interpreter's function", async () => {
    expectLikeInterpreter(fn, await evaluate(fn), smallest);
  });
});
