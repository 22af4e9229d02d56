import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Random } from "../../test/support/random.ts";
import { frobenius, quantizationResidual, svdFactors, without, zeroFactors } from "./factors.ts";

const matrices = fc
  .record({
    n: fc.integer({ min: 1, max: 14 }),
    k: fc.integer({ min: 1, max: 14 }),
    seed: fc.integer({ min: 0, max: 2 ** 30 }),
  })
  .map(({ n, k, seed }) => {
    const random = new Random(seed);
    return { n, k, random, matrix: Float32Array.from({ length: n * k }, () => random.normal()) };
  });

describe("factors of a low-rank correction", () => {
  it("leave less of a matrix the higher their rank, and nothing at full rank", () =>
    fc.assert(
      fc.asyncProperty(matrices, async ({ n, k, matrix }) => {
        let left = frobenius(matrix);
        for (let rank = 1; rank <= Math.min(n, k); rank++) {
          const after = frobenius(without(matrix, await svdFactors(matrix, n, k, rank), k, rank));
          expect(after).toBeLessThanOrEqual(left * (1 + 1e-6));
          left = after;
        }
        expect(left).toBeLessThan(1e-5 * frobenius(matrix));
      }),
      { numRuns: 30 },
    ));

  it("are the best of their rank: no others near them, and no random ones, leave less", () =>
    fc.assert(
      fc.asyncProperty(matrices, fc.integer({ min: 1, max: 4 }), async ({ n, k, random, matrix }, most) => {
        const rank = Math.min(most, n, k);
        const best = await svdFactors(matrix, n, k, rank);
        const least = frobenius(without(matrix, best, k, rank));
        for (const spread of [0.01, 0.3]) {
          const moved = (values: Float32Array) => values.map((value) => value + spread * random.normal());
          const other = without(matrix, { u: moved(best.u), v: moved(best.v) }, k, rank);
          expect(frobenius(other)).toBeGreaterThanOrEqual(least * (1 - 1e-5) - 1e-5);
        }
      }),
      { numRuns: 50 },
    ));

  it("that are zero add nothing, and have one factor that is not", () => {
    const random = new Random(1);
    const factors = zeroFactors(5, 9, 3, () => random.next());
    const matrix = Float32Array.from({ length: 45 }, () => random.normal());
    expect(without(matrix, factors, 9, 3)).toEqual(matrix);
    expect(factors.v.every((value) => value !== 0 && Math.abs(value) <= 1 / 3)).toBe(true);
  });

  it("are of what ternary weights lack: nothing where they are ternary already", () => {
    const w = Float32Array.of(0.5, -0.5, 0.5, -0.5, 0.5, 0.5);
    expect([...quantizationResidual(w, 2, 3, "tensor")]).toEqual([0, 0, 0, 0, 0, 0]);
    // alpha is the mean magnitude, 1: 3 is clamped to it.
    expect([...quantizationResidual(Float32Array.of(3, -1, 0, 0), 1, 4, "tensor")]).toEqual([2, 0, 0, 0]);
  });
});
