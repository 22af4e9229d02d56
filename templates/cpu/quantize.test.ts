import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelHost, rowPrologue } from "../../test/support/kernel-host.ts";
import { bitsOf } from "../../test/support/kernels/floats.ts";
import { anyRows, hardRows, type Quantized, quantizeRows } from "../../test/support/kernels/quantized.ts";
import { padTo } from "../../test/support/pack.ts";

const host = new KernelHost(16);
interface Variant {
  readonly bits: number;
  readonly perTensor: boolean;
  readonly vector: boolean;
}

async function run(
  x: Float32Array,
  rows: number,
  k: number,
  variant: Variant,
  split = 1,
): Promise<Quantized> {
  const qmax = 2 ** (variant.bits - 1) - 1;
  const kernel = await host.compile("quantize.ts", "quantize", {
    qmax,
    norm: false,
    perTensor: variant.perTensor,
    ...rowPrologue(k, variant.vector),
  });
  host.reset();
  const kPadded = padTo(k, 64);
  const given = {
    codes: host.place(new Int8Array(rows * kPadded).fill(99)),
    d: host.place(new Float32Array(rows)),
    sums: host.place(new Int32Array(rows)),
    scratch: host.place(new Float32Array(kPadded).fill(Number.NaN)),
    x: host.place(x),
    x_1: 0,
    rows,
    k,
    kPadded,
    eps: 0,
  };
  // Both prologues capture x; the second capture gets a name of its own.
  const call = { ...given, x_1: given.x };
  for (let part = 0; part < split; part++) {
    kernel({
      ...call,
      begin: Math.floor((rows * part) / split),
      end: Math.floor((rows * (part + 1)) / split),
    });
  }
  return { codes: given.codes.data.slice(), d: given.d.data.slice(), sums: given.sums.data.slice() };
}

describe.each([
  { bits: 8, perTensor: false, vector: true },
  { bits: 8, perTensor: false, vector: false },
  { bits: 8, perTensor: true, vector: true },
  { bits: 4, perTensor: false, vector: true },
  { bits: 2, perTensor: true, vector: false },
  { bits: 5, perTensor: false, vector: true },
])("$bits bits, per tensor $perTensor, vector $vector", (variant) => {
  const qmax = 2 ** (variant.bits - 1) - 1;

  test("equals the contract bit for bit", async () => {
    await fc.assert(
      fc.asyncProperty(anyRows, fc.integer({ min: 1, max: 3 }), async ({ rows, k, x }, split) => {
        expect(await run(x, rows, k, variant, split)).toEqual(
          quantizeRows(x, rows, k, qmax, variant.perTensor),
        );
      }),
      { numRuns: 40 },
    );
  });

  test.each(hardRows)("%s", async (_, values) => {
    const x = Float32Array.from(values);
    expect(await run(x, 1, x.length, variant)).toEqual(quantizeRows(x, 1, x.length, qmax, variant.perTensor));
  });

  test("a bad row does not spoil its neighbours", async () => {
    const x = Float32Array.from([1, 2, 3, Number.NaN, 5, 6, 7, 8, 9]);
    const result = await run(x, 3, 3, variant);
    expect(result).toEqual(quantizeRows(x, 3, 3, qmax, variant.perTensor));
    expect(Number.isNaN(result.d[1])).toBe(true);
    expect(Number.isNaN(result.d[0])).toBe(variant.perTensor);
  });
});

test("the golden vectors of the contract", async () => {
  const x = Float32Array.from([1, -1, 0.5, -0.5, 127, 0.5, 1.5, 2.5]);
  const { codes, d } = await run(x, 2, 4, { bits: 8, perTensor: false, vector: true });
  expect([...codes.subarray(0, 4), ...codes.subarray(64, 68)]).toEqual([127, -127, 64, -64, 127, 0, 2, 2]);
  expect([bitsOf(d[0]!), bitsOf(d[1]!)]).toEqual([1006699012, 1065353216]);
});

describe("with a norm", () => {
  test.each([1, 3, 16, 63, 65, 300])("normalizes a row of %i, then quantizes it", async (k) => {
    const options = { qmax: 127, norm: true, perTensor: false, ...rowPrologue(k, true) };
    const fused = await host.compile("quantize.ts", "quantize", options);
    const norm = await host.compile("rms-norm.ts", "rmsNorm", rowPrologue(k, true));
    host.reset();
    const x = host.place(Float32Array.from({ length: 2 * k }, (_, i) => Math.sin(i * 12.9898) * 3));
    const weight = host.place(Float32Array.from({ length: k }, (_, i) => 1 + Math.cos(i) / 2));
    const normalized = host.place(new Float32Array(2 * k));
    norm({ x, x_1: x, weight, out: normalized, k, eps: 1e-5, begin: 0, end: 2 });
    const kPadded = padTo(k, 64);
    const codes = host.place(new Int8Array(2 * kPadded));
    const d = host.place(new Float32Array(2));
    const sums = host.place(new Int32Array(2));
    const scratch = host.place(new Float32Array(kPadded));
    fused({
      ...{
        x,
        x_1: x,
        normWeight: weight,
        codes,
        d,
        sums,
        scratch,
        k,
        kPadded,
        eps: 1e-5,
        rows: 2,
        begin: 0,
        end: 2,
      },
    });
    const expected = quantizeRows(normalized.data.slice(), 2, k, 127, false);
    expect({ codes: codes.data.slice(), d: d.data.slice(), sums: sums.data.slice() }).toEqual(expected);
  });
});
