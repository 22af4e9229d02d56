import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelHost, rowPrologue } from "../../test/support/kernel-host.ts";
import { padTo } from "../../test/support/pack.ts";

const host = new KernelHost(16);
const RN = Math.fround;

interface Quantized {
  readonly codes: Int8Array;
  readonly d: Float32Array;
  readonly sums: Int32Array;
}

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);
function bitsOf(x: number): number {
  floats[0] = x;
  return words[0]!;
}
function fromBits(bits: number): number {
  words[0] = bits;
  return floats[0]!;
}
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** numerics.md, one value at a time. */
function reference(x: Float32Array, rows: number, k: number, qmax: number, perTensor: boolean): Quantized {
  const codes = new Int8Array(rows * padTo(k, 64));
  const d = new Float32Array(rows);
  const sums = new Int32Array(rows);
  const magnitude = (values: Float32Array) => values.reduce((m, v) => Math.max(m, bitsOf(v) & 0x7fffffff), 0);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * k, (row + 1) * k);
    const m = magnitude(perTensor ? x : values);
    if (m > 0x7e800000) {
      d[row] = Number.NaN;
      continue;
    }
    const a = Math.max(fromBits(m), RN(1e-5));
    const s = RN(qmax * RN(1 / a));
    d[row] = RN(a * (qmax === 127 ? fromBits(0x3c010204) : RN(1 / qmax)));
    values.forEach((value, i) => {
      const code = Math.min(qmax, Math.max(-qmax - 1, roundHalfEven(RN(value * s))));
      codes[row * padTo(k, 64) + i] = code;
      sums[row]! += code;
    });
  }
  return { codes, d, sums };
}

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

const row = fc.integer({ min: 1, max: 140 });
const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
const anyFloat = fc.oneof({ weight: 60, arbitrary: finite }, { weight: 1, arbitrary: fc.float() });

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
    const cases = fc
      .tuple(fc.integer({ min: 1, max: 4 }), row)
      .chain(([rows, k]) =>
        fc.tuple(
          fc.constant(rows),
          fc.constant(k),
          fc.array(anyFloat, { minLength: rows * k, maxLength: rows * k }),
        ),
      );
    await fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 1, max: 3 }), async ([rows, k, values], split) => {
        const x = Float32Array.from(values);
        expect(await run(x, rows, k, variant, split)).toEqual(reference(x, rows, k, qmax, variant.perTensor));
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    ["a zero row", [0, 0, 0, 0]],
    ["negative zeros", [-0, 0, -0]],
    ["amax below the floor", [1e-6, -2e-6, 5e-7, 0]],
    ["denormals", [2 ** -149, -(2 ** -140), 2 ** -126]],
    ["ties with amax 127", [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]],
    ["the largest good magnitude", [2 ** 126, 1, -(2 ** 125)]],
    ["amax above 2^126", [3.4e38, -3.4e38, 1, 0]],
    ["just above 2^126", [fromBits(0x7e800001), 1]],
    ["a NaN", [1, Number.NaN, 2]],
    ["infinities", [1, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]],
  ])("%s", async (_, values) => {
    const x = Float32Array.from(values);
    expect(await run(x, 1, x.length, variant)).toEqual(reference(x, 1, x.length, qmax, variant.perTensor));
  });

  test("a bad row does not spoil its neighbours", async () => {
    const x = Float32Array.from([1, 2, 3, Number.NaN, 5, 6, 7, 8, 9]);
    const result = await run(x, 3, 3, variant);
    expect(result).toEqual(reference(x, 3, 3, qmax, variant.perTensor));
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
    const expected = reference(normalized.data.slice(), 2, k, 127, false);
    expect({ codes: codes.data.slice(), d: d.data.slice(), sums: sums.data.slice() }).toEqual(expected);
  });
});
