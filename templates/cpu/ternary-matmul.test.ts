import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { intrinsic, local } from "../../codegen/kernel/build.ts";
import { hasRelaxedSimd, inline, KernelHost } from "../../test/support/kernel-host.ts";
import {
  anyTernaryCase,
  filled,
  rowSums,
  type TernaryCase,
  ternaryProduct,
} from "../../test/support/kernels/ternary.ts";
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
  readonly symmetric?: boolean;
  readonly tileRows: number;
  readonly vector: boolean;
}
async function run(variant: Variant, c: TernaryCase, split = 1): Promise<Int32Array | Float32Array> {
  const { m, n, k, group, q, w } = c;
  host.reset();
  const groups = groupLengths(k, group ?? k).length;
  const blocks = blocksPerRow(k, group ?? k);
  const scratchSize =
    variant.tileRows === 1
      ? (variant.relaxed ? 0 : 64 * blocks) + (group === undefined ? 0 : 8 * groups)
      : variant.relaxed
        ? group === undefined
          ? 0
          : 32 * groups
        : 128 * blocks;
  const given = {
    codes: host.place(packTernaryCodes(w, n, k, group ?? k)),
    activations: host.place(padActivations(q, m, k)),
    sums: host.place(rowSums(c)),
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
    symmetric: false,
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

describe.each(variants)("$relaxed relaxed, $tileRows rows, vector epilogue $vector", (variant) => {
  test("equals the reference bit for bit, whatever the shape and the split", async () => {
    await fc.assert(
      fc.asyncProperty(anyTernaryCase, fc.integer({ min: 1, max: 3 }), async (c, split) => {
        expect(await run(variant, c, split)).toEqual(ternaryProduct(c));
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

test("takes more blocks together where no activation is -128", async () => {
  const variant = { relaxed: false, symmetric: true, tileRows: 4, vector: true };
  for (const k of [64, 256, 320, 4096]) {
    for (const activation of [127, -127]) {
      const q = filled(k, () => activation);
      const w = filled(4 * k, (i) => (i < 2 * k ? 1 : -1));
      const wanted = [1, 1, -1, -1].map((weight) => weight * activation * k);
      expect([...(await run(variant, { m: 1, n: 4, k, q, w }))]).toEqual(wanted);
    }
  }
  await fc.assert(
    fc.asyncProperty(anyTernaryCase, async (c) => {
      const symmetric = { ...c, q: c.q.map((code) => Math.max(code, -127)) };
      expect(await run(variant, symmetric)).toEqual(ternaryProduct(symmetric));
    }),
    { numRuns: 60 },
  );
});
