import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { gpuKernel, stridedPrologue, subgroupVariants } from "../../test/support/kernels/gpu-variants.ts";
import { anyScore, expectNormalized, expectSoftmax, rotate } from "../../test/support/kernels/rows.ts";

const workgroupSize = 32;
/** Whether invocations hold the row in registers. */
const variants = [true, false].flatMap((holds) =>
  subgroupVariants.map((subgroups) => ({ holds, subgroups })),
);
type Variant = (typeof variants)[number];

function rowOptions(k: number, { holds, subgroups }: Variant) {
  const held = holds ? Math.ceil(k / (4 * workgroupSize)) : 0;
  return { workgroupSize, subgroups, held, prologue: stridedPrologue };
}

describe.each(variants)("rmsNorm, held $holds, subgroups $subgroups", (variant) => {
  test.each([1, 3, 63, 65, 300])("rows of %i", async (k) => {
    const kernel = await gpuKernel("rms-norm.ts", "rmsNorm", rowOptions(k, variant));
    const rows = 3;
    const x = pseudoRandom(rows * k, 2);
    const weight = pseudoRandom(k, 1, 7);
    const out = new Float32Array(rows * k + 1).fill(42);
    const eps = Math.fround(1e-5);
    await kernel({ x, xStride: k, weight, out, rows, k, eps }, { workgroups: 2 });
    expect(out.at(-1)).toBe(42);
    expectNormalized(out, x, weight, rows, k, eps);
  });

  test("a row of zeros stays zero", async () => {
    const kernel = await gpuKernel("rms-norm.ts", "rmsNorm", rowOptions(70, variant));
    const out = new Float32Array(70).fill(42);
    const weight = new Float32Array(70).fill(1);
    const x = new Float32Array(70);
    await kernel({ x, xStride: 70, weight, out, rows: 1, k: 70, eps: 1e-6 }, { workgroups: 1 });
    expect(out).toEqual(new Float32Array(70));
  });
});

describe.each(variants)("softmax, held $holds, subgroups $subgroups", (variant) => {
  test.each([1, 3, 63, 65, 300])("rows of %i", async (k) => {
    const kernel = await gpuKernel("softmax.ts", "softmax", rowOptions(k, variant));
    const scores = fc.array(anyScore, { minLength: 2 * k, maxLength: 2 * k });
    await fc.assert(
      fc.asyncProperty(scores, async (values) => {
        const x = Float32Array.from(values);
        const out = new Float32Array(2 * k + 1).fill(42);
        await kernel({ x, xStride: k, out, rows: 2, k }, { workgroups: 2 });
        expect(out.at(-1)).toBe(42);
        // Denormals may be flushed to zero.
        expectSoftmax(out, x, 2, k, 2 ** -126);
      }),
      { numRuns: 5 },
    );
  });

  test("NaN makes the row NaN, minus infinity is a zero", async () => {
    const kernel = await gpuKernel("softmax.ts", "softmax", rowOptions(5, variant));
    const { NaN: nan, NEGATIVE_INFINITY: low } = Number;
    const x = Float32Array.from([1, nan, 3, 4, 5, low, 1, 1, low, 1]);
    const out = new Float32Array(10);
    await kernel({ x, xStride: 5, out, rows: 2, k: 5 }, { workgroups: 2 });
    expect([...out.subarray(0, 5)]).toEqual(new Array(5).fill(nan));
    const third = Math.fround(1 / 3);
    expect([...out.subarray(5)]).toEqual([0, third, third, 0, third]);
  });
});

describe("rope", () => {
  test.each([
    [2, 3, 2, 8],
    [1, 4, 3, 6],
    [3, 1, 1, 64],
    [1, 2, 1, 2],
  ])("batch %i, seq %i, %i heads of %i", async (batch, seq, heads, dim) => {
    const kernel = await gpuKernel("rope.ts", "rope", { workgroupSize });
    const half = dim / 2;
    const length = 9;
    const xStride = heads * dim + 5;
    const rows = batch * seq;
    const x = pseudoRandom(rows * xStride, 2);
    const cos = pseudoRandom(length * half, 1, 3);
    const sin = pseudoRandom(length * half, 1, 5);
    const positions = Int32Array.from({ length: batch }, (_, b) => 2 * b);
    const out = new Float32Array(rows * heads * dim + 1).fill(42);
    const sizes = { rows, seq, heads, dim, length, xStride };
    await kernel({ x, cos, sin, positions, out, ...sizes }, { workgroups: 2 });
    expect(out.at(-1)).toBe(42);
    const wanted = rotate({ batch, seq, heads, dim }, x, xStride, cos, sin, positions);
    wanted.forEach((value, i) => {
      // A device may round each step to either side, or not at all: 2 ulp of |(x1, x2)| <= 2 sqrt 2.
      expect(Math.abs(out[i]! - value), `element ${i}`).toBeLessThanOrEqual(2 * 2 ** -22);
    });
  });
});

test("rope takes the nearest row of the table", async () => {
  const kernel = await gpuKernel("rope.ts", "rope", { workgroupSize });
  const [seq, heads, dim, length] = [2, 1, 4, 3];
  const x = pseudoRandom(2 * seq * dim, 2);
  const cos = pseudoRandom(length * 2, 1, 3);
  const sin = pseudoRandom(length * 2, 1, 5);
  const out = new Float32Array(2 * seq * dim);
  const sizes = { rows: 2 * seq, seq, heads, dim, length, xStride: dim };
  await kernel({ x, cos, sin, positions: Int32Array.of(-5, 7), out, ...sizes }, { workgroups: 1 });
  const rowAt = (position: number, from: number) =>
    rotate({ batch: 1, seq: 1, heads, dim }, x.subarray(from), dim, cos, sin, Int32Array.of(position));
  const wanted = [0, 0, 2, 2].flatMap((position, row) => [...rowAt(position, row * dim)]);
  wanted.forEach((value, i) => {
    expect(Math.abs(out[i]! - value), `element ${i}`).toBeLessThanOrEqual(2 * 2 ** -22);
  });
});

describe("cacheWrite", () => {
  test("puts rows into their slots and drops what does not fit", async () => {
    const kernel = await gpuKernel("cache-write.ts", "cacheWrite", { workgroupSize });
    const [rows, seq, capacity, width, xStride] = [6, 3, 4, 6, 7];
    const x = pseudoRandom(rows * xStride, 1);
    const cache = new Float32Array(3 * capacity * width);
    const slots = Int32Array.of(2, 0);
    const positions = Int32Array.of(-1, 2);
    const sizes = { rows, seq, capacity, width, xStride };
    await kernel({ cache, x, slots, positions, ...sizes }, { workgroups: 1 });
    const expected = new Float32Array(3 * capacity * width);
    [undefined, 8, 9, 2, 3, undefined].forEach((target, row) => {
      if (target !== undefined)
        expected.set(x.subarray(row * xStride, row * xStride + width), target * width);
    });
    expect(cache).toEqual(expected);
  });
});

describe("ropeCache", () => {
  test.each([
    [2, 3, 4, 2, 8],
    [1, 4, 3, 3, 6],
    [2, 1, 2, 1, 16],
  ])("batch %i, seq %i, %i heads on %i of %i", async (batch, seq, heads, kvHeads, dim) => {
    const kernel = await gpuKernel("rope-cache.ts", "ropeCache", { workgroupSize });
    const [capacity, length, rows, width] = [6, 9, batch * seq, kvHeads * dim];
    // Rows of q, keys and values, with a gap before each.
    const qOffset = 3;
    const keyOffset = qOffset + heads * dim + 1;
    const valueOffset = keyOffset + width + 2;
    const xStride = valueOffset + width;
    const x = pseudoRandom(rows * xStride, 2);
    const cos = pseudoRandom(length * (dim / 2), 1, 3);
    const sin = pseudoRandom(length * (dim / 2), 1, 5);
    const slots = Int32Array.from({ length: batch }, (_, b) => 2 - b);
    // The first sequence's last row is beyond the capacity.
    const positions = Int32Array.from({ length: batch }, (_, b) => (b === 0 ? capacity - seq + 1 : b));
    const out = new Float32Array(rows * heads * dim + 1).fill(42);
    const keys = pseudoRandom(3 * capacity * width, 1, 7);
    const values = pseudoRandom(3 * capacity * width, 1, 9);
    const expected = { keys: keys.slice(), values: values.slice() };
    const turned = (from: number, ofHeads: number) =>
      rotate({ batch, seq, heads: ofHeads, dim }, x.subarray(from), xStride, cos, sin, positions);
    const newKeys = turned(keyOffset, kvHeads);
    for (let row = 0; row < rows; row++) {
      const batchOfRow = Math.floor(row / seq);
      const position = positions[batchOfRow]! + (row % seq);
      if (position >= capacity) continue;
      const to = (slots[batchOfRow]! * capacity + position) * width;
      const value = row * xStride + valueOffset;
      expected.keys.set(newKeys.subarray(row * width, (row + 1) * width), to);
      expected.values.set(x.subarray(value, value + width), to);
    }
    const sizes = { rows, seq, heads, kvHeads, dim, length, capacity };
    const offsets = { xStride, qOffset, keyOffset, valueOffset };
    await kernel(
      { x, cos, sin, slots, positions, keys, values, out, ...sizes, ...offsets },
      { workgroups: 2 },
    );
    expect(out.at(-1)).toBe(42);
    expect(values).toEqual(expected.values);
    const queries = turned(qOffset, heads);
    for (const [name, got, want] of [
      ["q", out, queries],
      ["keys", keys, expected.keys],
    ] as const) {
      want.forEach((value, i) => {
        expect(Math.abs(got[i]! - value), `${name}[${i}]`).toBeLessThanOrEqual(2 * 2 ** -22);
      });
    }
  });
});
