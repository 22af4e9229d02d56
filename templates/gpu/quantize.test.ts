import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GpuHost } from "../../test/support/gpu-host.ts";
import { bitsOf, pseudoRandom } from "../../test/support/kernels/floats.ts";
import { gpuKernel, stridedPrologue, subgroupVariants } from "../../test/support/kernels/gpu-variants.ts";
import { anyRows, hardRows, type Quantized, quantizeRows } from "../../test/support/kernels/quantized.ts";
import { padTo } from "../../test/support/pack.ts";

interface Variant {
  readonly bits: number;
  readonly perTensor: boolean;
  /** Whether invocations hold the row in registers. */
  readonly holds: boolean;
  readonly subgroups: boolean;
}

const workgroupSize = 32;

function rowOptions(k: number, { holds, subgroups }: { holds: boolean; subgroups: boolean }) {
  const held = holds ? Math.ceil(k / (4 * workgroupSize)) : 0;
  return { workgroupSize, subgroups, held, prologue: stridedPrologue };
}

async function run(
  x: Float32Array,
  rows: number,
  k: number,
  variant: Variant,
  norm?: { weight: Float32Array; eps: number },
): Promise<Quantized> {
  const options = { ...rowOptions(k, variant), norm: norm !== undefined };
  const kPadded = padTo(k, 64);
  const common = { x, xStride: k, normWeight: norm?.weight ?? x, eps: norm?.eps ?? 0, rows, k };
  const magnitudes = new Uint32Array(rows);
  // Fewer workgroups than rows: each takes several.
  const workgroups = Math.max(1, rows - 1);
  if (variant.perTensor) {
    const measure = await gpuKernel("quantize.ts", "rowMagnitudes", options);
    await measure({ ...common, magnitudes }, { workgroups });
  }
  const { perTensor } = variant;
  const quantize = await gpuKernel("quantize.ts", "quantize", {
    ...options,
    perTensor,
    qmax: 2 ** (variant.bits - 1) - 1,
  });
  const codes = new Int8Array(rows * kPadded).fill(99);
  const d = new Float32Array(rows);
  const sums = new Int32Array(rows);
  await quantize({ ...common, magnitudes, codes, d, sums, kPadded }, { workgroups });
  return { codes, d, sums };
}

const variants = [
  { bits: 8, perTensor: false, holds: true },
  { bits: 8, perTensor: true, holds: false },
  { bits: 4, perTensor: false, holds: false },
  { bits: 2, perTensor: true, holds: true },
].flatMap((variant) => subgroupVariants.map((subgroups): Variant => ({ ...variant, subgroups })));

describe.each(variants)("$bits bits, per tensor $perTensor, held $holds, subgroups $subgroups", (variant) => {
  const qmax = 2 ** (variant.bits - 1) - 1;
  const { perTensor } = variant;

  test("equals the contract bit for bit", async () => {
    await fc.assert(
      fc.asyncProperty(anyRows, async ({ rows, k, x }) => {
        expect(await run(x, rows, k, variant)).toEqual(quantizeRows(x, rows, k, qmax, perTensor));
      }),
      { numRuns: 8 },
    );
  });

  test("rows that break quantizers", async () => {
    for (const [name, values] of hardRows) {
      const x = Float32Array.from(values);
      expect(await run(x, 1, x.length, variant), name).toEqual(quantizeRows(x, 1, x.length, qmax, perTensor));
    }
  });

  test("a bad row does not spoil its neighbours", async () => {
    const x = Float32Array.from([1, 2, 3, Number.NaN, 5, 6, 7, 8, 9]);
    const result = await run(x, 3, 3, variant);
    expect(result).toEqual(quantizeRows(x, 3, 3, qmax, perTensor));
    expect(Number.isNaN(result.d[1])).toBe(true);
    expect(Number.isNaN(result.d[0])).toBe(perTensor);
  });
});

test("the golden vectors of the contract", async () => {
  const x = Float32Array.from([1, -1, 0.5, -0.5, 127, 0.5, 1.5, 2.5]);
  const variant = { bits: 8, perTensor: false, holds: true, subgroups: false };
  const { codes, d } = await run(x, 2, 4, variant);
  expect([...codes.subarray(0, 4), ...codes.subarray(64, 68)]).toEqual([127, -127, 64, -64, 127, 0, 2, 2]);
  expect([bitsOf(d[0]!), bitsOf(d[1]!)]).toEqual([1006699012, 1065353216]);
});

test("a row of 5460", async () => {
  const x = pseudoRandom(5460, 3);
  const variant = { bits: 8, perTensor: false, holds: false, subgroups: true };
  expect(await run(x, 1, 5460, variant)).toEqual(quantizeRows(x, 1, 5460, 127, false));
});

describe.each(subgroupVariants)("with a norm, subgroups %s", (subgroups) => {
  test.each([
    [1, true],
    [63, false],
    [65, true],
    [300, false],
    [300, true],
  ])("normalizes a row of %i, then quantizes it, held %s", async (k, holds) => {
    const x = pseudoRandom(2 * k, 3);
    const weight = pseudoRandom(k, 1, 7);
    const eps = Math.fround(1e-5);
    const norm = await gpuKernel("rms-norm.ts", "rmsNorm", rowOptions(k, { holds, subgroups }));
    const normalized = new Float32Array(2 * k);
    await norm({ x, xStride: k, weight, out: normalized, rows: 2, k, eps }, { workgroups: 2 });
    for (const perTensor of [false, true]) {
      const variant = { bits: 8, perTensor, holds, subgroups };
      expect(await run(x, 2, k, variant, { weight, eps })).toEqual(
        quantizeRows(normalized, 2, k, 127, perTensor),
      );
    }
  });
});

describe("exactReciprocal", () => {
  /** 1/a of every f32 whose bits are first + i * step. */
  async function reciprocals(first: number, step: number, count: number): Promise<Uint32Array> {
    const out = new Uint32Array(count);
    await (await reciprocalKernel)({ out, first, step }, { range: count });
    return out;
  }
  const text = `import { type Buffer, bits, convert, type i32, type u32 } from "bitloom/kernel";
    import { exactReciprocal } from "./exact-reciprocal.ts";
    export function apply(out: Buffer<u32>, first: i32, step: i32, begin: i32, end: i32): void {
      for (let i = begin; i < end; i++) {
        out[i] = bits.f32ToU32(exactReciprocal(bits.i32ToF32(first + i * step)));
      }
    }`;
  const reciprocalKernel = GpuHost.open().then((host) => host.compileText(text, "apply"));

  test("rounds correctly for every significand", async () => {
    const count = 2 ** 23;
    const found = await reciprocals(0x3f800000, 1, count);
    const wanted = new Float32Array(1);
    const wantedBits = new Uint32Array(wanted.buffer);
    let wrong = 0;
    for (let i = 0; i < count; i++) {
      // a = 1 + i / 2^23 exactly, and f64 has bits enough that its quotient rounds to f32 as the exact one does.
      wanted[0] = 1 / (1 + i * 2 ** -23);
      if (found[i] !== wantedBits[0]) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("mends a proposal that is far off", async () => {
    const host = await GpuHost.open();
    const kernel = await host.compileText(
      `import { type Buffer, type i32 } from "bitloom/kernel";
       import { nearestQuotient } from "./exact-reciprocal.ts";
       export function apply(m: Buffer<i32>, proposals: Buffer<i32>, out: Buffer<i32>, begin: i32, end: i32): void {
         for (let i = begin; i < end; i++) out[i] = nearestQuotient(m[i]!, proposals[i]!);
       }`,
      "apply",
    );
    const significands = [0x800000, 0x800001, 0xaaaaab, 0xc00000, 0xffffff];
    const offsets = [-120, -64, -3, -1, 0, 1, 2, 100, 120];
    const m = Int32Array.from(significands.flatMap((value) => offsets.map(() => value)));
    const wanted = m.map((value) => Math.round(2 ** 47 / value));
    const proposals = wanted.map((value, i) => value + offsets[i % offsets.length]!);
    const out = new Int32Array(m.length);
    await kernel({ m, proposals, out }, { range: m.length });
    expect(out).toEqual(wanted);
  });

  test("rounds correctly for every exponent from 1e-5 to 2^126", async () => {
    const [first, last, step] = [0x3727c5ac, 0x7e800000, 7919];
    const count = Math.floor((last - first) / step) + 1;
    const found = await reciprocals(first, step, count);
    const a = new Float32Array(new Int32Array(count).map((_, i) => first + i * step).buffer);
    const wanted = new Uint32Array(a.map((value) => 1 / value).buffer);
    expect(found).toEqual(wanted);
    expect(await reciprocals(last, 1, 1)).toEqual(Uint32Array.of(bitsOf(2 ** -126)));
  });
});
