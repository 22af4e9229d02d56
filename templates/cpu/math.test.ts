import { describe, expect, test } from "vitest";
import { mathFunctions } from "../../codegen/schedule/lanes.ts";
import { unaryFunctions } from "../../ir/scalar.ts";
import { KernelHost } from "../../test/support/kernel-host.ts";

const host = new KernelHost(64);
const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

function fromBits(bits: number): number {
  words[0] = bits;
  return floats[0]!;
}

/** The distance between two floats in units of the last place of the larger; huge where only one is finite. */
function distance(a: number, b: number): number {
  if (Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b)) || a === b) return 0;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.max(Math.abs(a), Math.abs(b)))));
  return Math.abs(a - b) / 2 ** (exponent - 23);
}

/** A quarter of a million floats over all signs, exponents and kinds, and a dense grid where functions bend. */
function samples(): Float32Array {
  const values: number[] = [];
  for (let bits = 0; bits < 2 ** 32; bits += 16411) values.push(fromBits(bits));
  for (let x = -20; x < 20; x += 1 / 4096) values.push(x);
  for (let x = -110; x < 95; x += 1 / 512) values.push(x);
  values.push(
    0,
    -0,
    1,
    -1,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
    88.72283,
    88.72284,
  );
  values.push(-103.97207, -103.97208, -87.33655, 2 ** -149, -(2 ** -149), 2 ** -126, 3.4e38);
  return Float32Array.from(values);
}

const xs = samples();

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

const exact: { readonly [name: string]: (x: number) => number } = {
  exp: Math.exp,
  log: Math.log,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf: unaryFunctions.erf.evaluate,
};

describe.each([
  ["exp", 1.1],
  ["log", 1.1],
  ["tanh", 2],
  ["sigmoid", 2.6],
  ["erf", 2.5],
])("%s", (fn, ulps) => {
  test(`is within ${ulps} ulp on every sample`, async () => {
    const result = await evaluate(fn, "4");
    let worst = 0;
    let where = 0;
    xs.forEach((x, i) => {
      // Compare with the unrounded value where f32 can hold it, with its rounding where that is 0 or infinite.
      const value = exact[fn]!(x);
      const rounded = Math.fround(value);
      const wanted = Number.isFinite(rounded) ? value : rounded;
      const error = distance(result[i]!, wanted);
      if (error > worst) [worst, where] = [error, i];
    });
    expect(worst, `at ${xs[where]}: ${result[where]} for ${exact[fn]!(xs[where]!)}`).toBeLessThanOrEqual(
      ulps,
    );
  });
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
    const result = await evaluate(fn, "4");
    let worst = 0;
    let where = 0;
    xs.forEach((x, i) => {
      const wanted = unaryFunctions[fn].evaluate(x);
      const got = result[i]!;
      if (Number.isNaN(wanted) !== Number.isNaN(got)) worst = Number.POSITIVE_INFINITY;
      // gelu cancels in its negative tail, where only the absolute error is small; the reference's sigmoid
      // has lost its last digits to overflow by the time the result is that small.
      const floor = fn.startsWith("gelu")
        ? Math.abs(x)
        : fn === "sigmoid" || fn === "silu"
          ? 1e-30
          : 2 ** -149;
      const error = wanted === got ? 0 : Math.abs(got - wanted) / Math.max(Math.abs(wanted), floor);
      if (error > worst) [worst, where] = [error, i];
    });
    const denormal = Math.abs(unaryFunctions[fn].evaluate(xs[where]!)) < 2 ** -126;
    expect(worst, `at ${xs[where]}: ${result[where]}`).toBeLessThanOrEqual(denormal ? 1 : 2 ** -20);
  });
});
