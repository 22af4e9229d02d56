/** Ternary products and what they must give, whatever the target. */
import fc from "fast-check";
import { expect } from "vitest";
import { groupLengths } from "../pack.ts";

/** A product of activation codes and ternary weights. */
export interface TernaryCase {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly group?: number;
  /** [m, k] and [n, k] */
  readonly q: Int8Array;
  readonly w: Int8Array;
  /** [n, groups] */
  readonly alpha?: Float32Array;
}

const RN = Math.fround;

/** The accumulators [m, n]: exact i32, or with groups f32 by the numerics contract. */
export function ternaryProduct({ m, n, k, group, q, w, alpha }: TernaryCase): Int32Array | Float32Array {
  const out = group === undefined ? new Int32Array(m * n) : new Float32Array(m * n);
  const lengths = groupLengths(k, group ?? k);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let total = 0;
      let start = 0;
      lengths.forEach((length, g) => {
        let sum = 0;
        for (let i = start; i < start + length; i++) sum += q[row * k + i]! * w[column * k + i]!;
        if (group === undefined) total = sum;
        else total = RN(total + RN(RN(sum) * alpha![column * lengths.length + g]!));
        start += length;
      });
      out[row * n + column] = total;
    }
  }
  return out;
}

/** The sum of each row's activation codes. */
export function rowSums({ m, k, q }: TernaryCase): Int32Array {
  return Int32Array.from({ length: m }, (_, row) =>
    q.subarray(row * k, (row + 1) * k).reduce((sum, code) => sum + code, 0),
  );
}

export function filled(length: number, value: (i: number) => number): Int8Array {
  return Int8Array.from({ length }, (_, i) => value(i));
}

export const anyTernaryCase = fc
  .record({
    m: fc.integer({ min: 1, max: 6 }),
    n: fc.integer({ min: 1, max: 11 }),
    k: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1, 3, 63, 64, 65, 127, 128, 129, 5460)),
    group: fc.option(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.constantFrom(16, 64, 128)), {
      nil: undefined,
    }),
    seed: fc.integer(),
  })
  .map(({ m, n, k, group, seed }): TernaryCase => {
    let state = seed | 1;
    const next = (bound: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 8) % bound;
    };
    const q = filled(m * k, () => next(256) - 128);
    const w = filled(n * k, () => next(3) - 1);
    // Tiny groups of a long row would only cost time.
    const size = group === undefined ? undefined : Math.max(group, Math.ceil(k / 40));
    if (size === undefined) return { m, n, k, q, w };
    const count = n * groupLengths(k, size).length;
    const alpha = Float32Array.from({ length: count }, () => (next(1000) + 1) / 737);
    return { m, n, k, group: size, q, w, alpha };
  });

/**
 * Fails unless `out` [m, n] has the accumulators: the bits of the exact i32, or with groups an f32 within tier T1 of
 * the numerics contract, whatever the order of the groups' sum.
 */
export function expectTernaryProduct(out: Float32Array, c: TernaryCase): void {
  const { m, n, k, group, q, w, alpha } = c;
  const wanted = ternaryProduct(c);
  if (group === undefined) {
    expect(new Int32Array(out.slice().buffer)).toEqual(wanted);
    return;
  }
  const lengths = groupLengths(k, group);
  for (let i = 0; i < m * n; i++) {
    const [row, column] = [Math.floor(i / n), i % n];
    let magnitude = 0;
    lengths.forEach((length, g) => {
      let sum = 0;
      for (let j = g * group; j < g * group + length; j++) sum += q[row * k + j]! * w[column * k + j]!;
      magnitude += Math.abs(sum * alpha![column * lengths.length + g]!);
    });
    const allowed = (lengths.length + 3) * 2 ** -24 * magnitude;
    expect(Math.abs(out[i]! - wanted[i]!), `(${row}, ${column})`).toBeLessThanOrEqual(allowed);
  }
}
