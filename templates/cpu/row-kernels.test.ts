import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelHost, rowPrologue } from "../../test/support/kernel-host.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { anyScore, expectNormalized, expectSoftmax, rotate } from "../../test/support/kernels/rows.ts";

const host = new KernelHost(16);
const shapes = [1, 3, 4, 63, 65, 300].flatMap((k) => [true, false].map((vector) => [k, vector] as const));

describe("rmsNorm", () => {
  test.each(shapes)("rows of %i, vector prologue %s", async (k, vector) => {
    const kernel = await host.compile("rms-norm.ts", "rmsNorm", rowPrologue(k, vector));
    host.reset();
    const rows = 3;
    const x = host.place(pseudoRandom(rows * k, 2));
    const weight = host.place(pseudoRandom(k, 1, 7));
    const out = host.place(new Float32Array(rows * k + 1).fill(42));
    const eps = Math.fround(1e-5);
    kernel({ x, x_1: x, weight, out, k, eps, begin: 0, end: rows });
    expect(out.data.at(-1)).toBe(42);
    expectNormalized(out.data, x.data, weight.data, rows, k, eps);
  });

  test("works in place, and a row of zeros stays zero", async () => {
    const k = 70;
    const kernel = await host.compile("rms-norm.ts", "rmsNorm", rowPrologue(k, true));
    host.reset();
    const x = host.place(pseudoRandom(2 * k, 1).fill(0, k));
    const weight = host.place(new Float32Array(k).fill(1));
    const out = host.place(new Float32Array(2 * k));
    kernel({ x, x_1: x, weight, out, k, eps: 1e-6, begin: 0, end: 2 });
    kernel({ x, x_1: x, weight, out: x, k, eps: 1e-6, begin: 0, end: 2 });
    expect(x.data).toEqual(out.data);
    expect(out.data.subarray(k)).toEqual(new Float32Array(k));
  });
});

describe("softmax", () => {
  test.each(shapes)("rows of %i, vector prologue %s", async (k, vector) => {
    const kernel = await host.compile("softmax.ts", "softmax", rowPrologue(k, vector));
    fc.assert(
      fc.property(fc.array(anyScore, { minLength: 2 * k, maxLength: 2 * k }), (scores) => {
        host.reset();
        const x = host.place(Float32Array.from(scores));
        const out = host.place(new Float32Array(2 * k + 1).fill(42));
        kernel({ x, x_1: x, out, k, begin: 0, end: 2 });
        expect(out.data.at(-1)).toBe(42);
        expectSoftmax(out.data, x.data, 2, k, 2 ** -149);
      }),
      { numRuns: 20 },
    );
  });

  test("NaN and an infinite score make the row NaN, minus infinity is a zero", async () => {
    const kernel = await host.compile("softmax.ts", "softmax", rowPrologue(5, true));
    host.reset();
    const { NaN: nan, NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;
    const x = host.place(Float32Array.from([1, nan, 3, 4, 5, low, 1, 1, low, 1, high, 0, 0, 0, 0]));
    const out = host.place(new Float32Array(15));
    kernel({ x, x_1: x, out, k: 5, begin: 0, end: 3 });
    expect([...out.data.subarray(0, 5)]).toEqual(new Array(5).fill(nan));
    expect([...out.data.subarray(5, 10)]).toEqual([
      0,
      Math.fround(1 / 3),
      Math.fround(1 / 3),
      0,
      Math.fround(1 / 3),
    ]);
    expect(out.data[10]).toBeNaN();
  });
});

describe("rope", () => {
  test.each([
    [2, 3, 2, 8],
    [1, 4, 3, 6],
    [3, 1, 1, 64],
    [1, 2, 1, 2],
  ])("batch %i, seq %i, %i heads of %i", async (batch, seq, heads, dim) => {
    const kernel = await host.compile("rope.ts", "rope");
    host.reset();
    const half = dim / 2;
    const length = 9;
    const xStride = heads * dim + 5;
    const x = host.place(pseudoRandom(batch * seq * xStride, 2));
    const cos = host.place(pseudoRandom(length * half, 1, 3));
    const sin = host.place(pseudoRandom(length * half, 1, 5));
    const positions = host.place(Int32Array.from({ length: batch }, (_, b) => 2 * b));
    const out = host.place(new Float32Array(batch * seq * heads * dim));
    const common = { x, cos, sin, positions, out, seq, heads, dim, length, xStride };
    kernel({ ...common, begin: 0, end: 1 });
    kernel({ ...common, begin: 1, end: batch * seq });
    expect(out.data).toEqual(
      rotate({ batch, seq, heads, dim }, x.data, xStride, cos.data, sin.data, positions.data),
    );
  });
});

describe("cacheWrite", () => {
  test("puts rows into their slots and drops what does not fit", async () => {
    const kernel = await host.compile("cache-write.ts", "cacheWrite");
    host.reset();
    const [batch, seq, capacity, width, xStride] = [2, 3, 4, 6, 7];
    const x = host.place(pseudoRandom(batch * seq * xStride, 1));
    const cache = host.place(new Float32Array(3 * capacity * width));
    const slots = host.place(Int32Array.of(2, 0));
    const positions = host.place(Int32Array.of(0, 2));
    kernel({ cache, x, slots, positions, seq, capacity, width, xStride, begin: 0, end: batch * seq });
    const expected = new Float32Array(3 * capacity * width);
    [8, 9, 10, 2, 3, undefined].forEach((target, row) => {
      if (target !== undefined)
        expected.set(x.data.subarray(row * xStride, row * xStride + width), target * width);
    });
    expect(cache.data).toEqual(expected);
  });
});
