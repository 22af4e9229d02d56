import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { absmean } from "../../ir/numerics.ts";
import type { ScaleGranularity } from "../../ir/types.ts";
import { gpuKernel } from "../../test/support/kernels/gpu-variants.ts";
import { groupLengths, packGroupScales, packTernaryCodes, padTo } from "../../test/support/pack.ts";
import { Random } from "../../test/support/random.ts";

/** Codes and scales in the layout of matrix products, their padding junk before. */
async function quantize(weights: Float32Array, rows: number, k: number, scale: ScaleGranularity) {
  const groupSize = typeof scale === "object" ? scale.group : k;
  const groups = Math.ceil(k / groupSize);
  const options = { workgroupSize: 32, subgroups: false };
  const scales = new Uint32Array(padTo(rows, 4) * groups);
  if (scale === "tensor") {
    const sums = new Uint32Array(4 * rows).fill(77);
    const rowSums = await gpuKernel("absmean.ts", "absmeanRowSums", options);
    await rowSums({ weights, sums, rows, k }, { workgroups: 3 });
    const tensorScale = await gpuKernel("absmean.ts", "absmeanTensorScale", options);
    await tensorScale({ sums, scales, rows, count: rows * k }, { workgroups: 1 });
  } else {
    const ownScales = await gpuKernel("absmean.ts", "absmeanScales", options);
    await ownScales({ weights, scales, rows, k, groupSize }, { workgroups: 3 });
  }
  const codes = new Uint8Array(packTernaryCodes(new Int8Array(rows * k), rows, k, groupSize).length).fill(77);
  const pack = await gpuKernel("pack-ternary.ts", "packTernary", { workgroupSize: 32 });
  await pack({ weights, scales, codes, rows, k, groupSize }, { workgroups: 2 });
  return { codes, scales: new Float32Array(scales.buffer) };
}

async function expectAbsmean(weights: Float32Array, rows: number, k: number, scale: ScaleGranularity) {
  const { codes, scales } = await quantize(weights, rows, k, scale);
  const want = absmean(weights, rows, k, scale);
  const group = typeof scale === "object" ? scale.group : undefined;
  const alphas =
    scale === "tensor" ? new Float32Array(rows).fill(want.scales![0]!) : (want.scales as Float32Array);
  expect(scales).toEqual(packGroupScales(alphas, rows, groupLengths(k, group).length));
  expect(codes).toEqual(packTernaryCodes(want.data as Int8Array, rows, k, group));
}

const granularity = fc.oneof(
  fc.constantFrom("tensor" as const, "row" as const),
  fc.record({ group: fc.constantFrom(1, 5, 64, 70) }),
);
/** Magnitudes spread over f32's, which is where what is cut off would show; of few bits, where means are ties; or alike. */
const weightsOf: readonly ((random: Random) => number)[] = [
  (random) => Math.fround(random.normal() * 2 ** random.int(-140, 60)),
  (random) => random.int(-6, 6) / 4,
  (random) => Math.fround(random.normal()),
];
const anyCase = fc.record({
  rows: fc.integer({ min: 1, max: 9 }),
  k: fc.integer({ min: 1, max: 150 }),
  scale: granularity,
  kind: fc.constantFrom(...weightsOf),
  seed: fc.integer(),
});

describe("absmean", () => {
  test("gives the reference's scales and codes for any weights", () =>
    fc.assert(
      fc.asyncProperty(anyCase, ({ rows, k, scale, kind, seed }) => {
        const random = new Random(seed);
        return expectAbsmean(
          Float32Array.from({ length: rows * k }, () => kind(random)),
          rows,
          k,
          scale,
        );
      }),
      { numRuns: 30 },
    ));

  test("sums that carry beyond 64 bits, and rows of very different sizes", () => {
    const weights = Float32Array.from({ length: 9 * 3000 }, (_, i) => {
      const row = Math.floor(i / 3000);
      return row < 4 ? 2 ** 120 * (1 + 2 ** -23) : (1 + (i % 7) / 8) * 2 ** (-30 * (row - 4));
    });
    return Promise.all((["tensor", "row"] as const).map((scale) => expectAbsmean(weights, 9, 3000, scale)));
  });

  test("more weights in a row than an invocation adds up without carrying", async () => {
    const k = 32 * 65_540;
    const weights = new Float32Array(k).fill(2 - 2 ** -23);
    expect((await quantize(weights, 1, k, "row")).scales[0]).toBe(2 - 2 ** -23);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 126])(
    "%s makes a scale NaN and its codes 0",
    async (bad) => {
      const weights = new Float32Array(4 * 70).fill(1).fill(bad, 71, 72);
      const { codes, scales } = await quantize(weights, 4, 70, "row");
      expect(scales).toEqual(Float32Array.of(1, Number.NaN, 1, 1));
      const want = new Int8Array(4 * 70).fill(1).fill(0, 70, 140);
      expect(codes).toEqual(packTernaryCodes(want, 4, 70));
      expect((await quantize(weights, 4, 70, "tensor")).scales).toEqual(new Float32Array(4).fill(Number.NaN));
    },
  );
});
