import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { intrinsic, local } from "../../codegen/kernel/build.ts";
import { hasRelaxedSimd, inline, KernelHost } from "../../test/support/kernel-host.ts";
import {
  blocksPerRow,
  groupLengths,
  packGroupScales,
  packTernaryCodes,
  padActivations,
  padTo,
} from "../../test/support/pack.ts";

const host = new KernelHost(64);
const position = [
  ["row", "i32"],
  ["column", "i32"],
] as const;

/** Ungrouped kernels store the raw i32, grouped ones the f32 sum. */
function epilogues(grouped: boolean) {
  const raw = intrinsic("bits.i32ToF32", [local("acc", "i32")]);
  return {
    epilogue: grouped
      ? inline([["acc", "f32"], ...position], local("acc", "f32"))
      : inline([["acc", "i32"], ...position], raw),
    epilogue4: inline([["acc", "v128"], ...position], local("acc", "v128")),
  };
}

interface Variant {
  readonly relaxed: boolean;
  readonly tileRows: number;
  readonly vector: boolean;
}
interface Case {
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

function reference({ m, n, k, group, q, w, alpha }: Case): Int32Array | Float32Array {
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

async function run(variant: Variant, c: Case, split = 1): Promise<Int32Array | Float32Array> {
  const { m, n, k, group, q, w } = c;
  host.reset();
  const groups = groupLengths(k, group ?? k).length;
  const blocks = blocksPerRow(k, group ?? k);
  const sums = Int32Array.from({ length: m }, (_, row) =>
    q.subarray(row * k, (row + 1) * k).reduce((sum, code) => sum + code, 0),
  );
  const scratchSize =
    variant.tileRows * ((variant.relaxed ? 0 : 64 * blocks) + (group === undefined ? 0 : 8 * groups));
  const given = {
    codes: host.place(packTernaryCodes(w, n, k, group ?? k)),
    activations: host.place(padActivations(q, m, k)),
    sums: host.place(sums),
    scales: host.place(c.alpha === undefined ? new Float32Array(4) : packGroupScales(c.alpha, n, groups)),
    scratch: host.place(new Int16Array(scratchSize + 1).fill(12345)),
    m,
    n,
    k,
    groupSize: group ?? 0,
  };
  const guard = 0x5a5a5a5a;
  const out = host.place(new Int32Array(m * n + 4).fill(guard));
  expect(given.scratch.data.at(-1)).toBe(12345);
  const grouped = group !== undefined;
  const call = await host.compile("ternary-matmul.ts", "ternaryMatmul", {
    ...variant,
    grouped,
    ...epilogues(grouped),
  });
  const items = padTo(n, 4) / 4;
  for (let part = 0; part < split; part++) {
    const begin = Math.floor((items * part) / split);
    const end = Math.floor((items * (part + 1)) / split);
    call({ ...given, out, begin, end });
  }
  expect(given.scratch.data.at(-1), "scratch overrun").toBe(12345);
  expect([...out.data.subarray(m * n)], "output overrun").toEqual(new Array(4).fill(guard));
  const result = out.data.slice(0, m * n);
  return group === undefined ? result : new Float32Array(result.buffer);
}

const variants: Variant[] = [];
for (const relaxed of hasRelaxedSimd() ? [false, true] : [false]) {
  for (const tileRows of [1, 4])
    for (const vector of [false, true]) variants.push({ relaxed, tileRows, vector });
}

function filled(length: number, value: (i: number) => number): Int8Array {
  return Int8Array.from({ length }, (_, i) => value(i));
}

const randomCase = fc
  .record({
    m: fc.integer({ min: 1, max: 6 }),
    n: fc.integer({ min: 1, max: 11 }),
    k: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1, 3, 63, 64, 65, 127, 128, 129, 5460)),
    group: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    seed: fc.integer(),
  })
  .map(({ m, n, k, group, seed }): Case => {
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

describe.each(variants)("$relaxed relaxed, $tileRows rows, vector epilogue $vector", (variant) => {
  test("equals the reference bit for bit, whatever the shape and the split", async () => {
    await fc.assert(
      fc.asyncProperty(randomCase, fc.integer({ min: 1, max: 3 }), async (c, split) => {
        expect(await run(variant, c, split)).toEqual(reference(c));
      }),
      { numRuns: 60 },
    );
  });

  test.each([4096, 131_072])(
    "does not wrap where every product has the largest magnitude, K = %i",
    async (k) => {
      for (const [activation, weight] of [
        [127, 1],
        [-128, 1],
        [-128, -1],
        [127, -1],
      ] as const) {
        const c = { m: 1, n: 4, k, q: filled(k, () => activation), w: filled(4 * k, () => weight) };
        expect([...(await run(variant, c))]).toEqual(new Array(4).fill(activation * weight * k));
      }
    },
  );

  test("alternating signs cancel", async () => {
    const k = 4096;
    const alternate = (i: number) => (i % 2 === 0 ? 1 : -1);
    const q = filled(k, (i) => 127 * alternate(i));
    expect([...(await run(variant, { m: 1, n: 1, k, q, w: filled(k, () => 1) }))]).toEqual([0]);
    expect([...(await run(variant, { m: 1, n: 1, k, q, w: filled(k, alternate) }))]).toEqual([127 * k]);
  });

  test("a short tail group does not see its neighbour", async () => {
    const alpha = new Float32Array([1, 10, 100]);
    const q = filled(12, (i) => i + 1);
    const w = filled(12, () => 1);
    expect([...(await run(variant, { m: 1, n: 1, k: 12, group: 5, q, w, alpha }))]).toEqual([
      15 + 400 + 2300,
    ]);
  });
});
