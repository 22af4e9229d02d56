import { describe, expect, test } from "vitest";
import { mathFunctions } from "../../codegen/schedule/lanes.ts";
import { KernelHost } from "../../test/support/kernel-host.ts";
import {
  expectLikeInterpreter,
  expectWithinUlps,
  functionSamples as xs,
} from "../../test/support/kernels/functions.ts";

const host = new KernelHost(64);
async function evaluate(fn: string, suffix: "" | "4"): Promise<Float32Array> {
  const step = suffix === "4" ? 4 : 1;
  const body = suffix === "4" ? `v128.store(out, i, ${fn}4(v128.load(x, i)))` : `out[i] = ${fn}(x[i]!)`;
  const kernel = await host.compileText(
    `import { type Buffer, type f32, type i32, v128 } from "bitloom/kernel";
     import { ${fn}${suffix} } from "./math.ts";
     export function apply(x: Buffer<f32>, out: Buffer<f32>, begin: i32, end: i32): void {
       for (let i = begin; i < end; i += ${step}) ${body};
     }`,
    "apply",
  );
  host.reset();
  const padded = new Float32Array(Math.ceil(xs.length / 4) * 4);
  padded.set(xs);
  const out = host.place(new Float32Array(padded.length));
  kernel({ x: host.place(padded), out, begin: 0, end: padded.length });
  return out.data.slice(0, xs.length);
}

describe.each([
  ["exp", 1.1],
  ["log", 1.1],
  ["tanh", 2],
  ["sigmoid", 2.6],
  ["erf", 2.5],
])("%s", (fn, ulps) => {
  test(`is within ${ulps} ulp on every sample`, async () => {
    expectWithinUlps(fn, await evaluate(fn, "4"), ulps, 2 ** -149);
  });
});

test("a softmax's exponential is e^x up to 88, or 0 where that is less than 2^-124", async () => {
  const results = await evaluate("softmaxExp", "4");
  expectWithinUlps(
    "exp",
    results.map((y, i) => (xs[i]! > 88 ? Math.exp(xs[i]!) : y)),
    1.1,
    2 ** -124,
  );
  expect(await evaluate("softmaxExp", "")).toEqual(results);
});

describe.each(mathFunctions)("%s", (fn) => {
  test("gives one lane what it gives four", async () => {
    const four = new Int32Array((await evaluate(fn, "4")).buffer);
    const one = new Int32Array((await evaluate(fn, "")).buffer);
    const isNaNAt = (bits: Int32Array, i: number) => (bits[i]! & 0x7fffffff) > 0x7f800000;
    const differing = four.findIndex((bits, i) => bits !== one[i] && !(isNaNAt(four, i) && isNaNAt(one, i)));
    expect(differing).toBe(-1);
  });

  test("agrees with the reference interpreter's function", async () => {
    expectLikeInterpreter(fn, await evaluate(fn, "4"), 2 ** -149);
  });
});
