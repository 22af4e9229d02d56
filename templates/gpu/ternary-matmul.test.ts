import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gpuKernel, storedAcc, subgroupVariants } from "../../test/support/kernels/gpu-variants.ts";
import {
  anyTernaryCase,
  expectTernaryProduct,
  filled,
  rowSums,
  type TernaryCase,
} from "../../test/support/kernels/ternary.ts";
import { groupLengths, packGroupScales, packTernaryCodes, padActivations } from "../../test/support/pack.ts";

interface Variant {
  readonly name: string;
  readonly file: string;
  readonly kernel: string;
  readonly options: { readonly [option: string]: number | boolean };
  /** Rows and columns that a workgroup computes. */
  readonly tile: readonly [rows: number, columns: number];
  readonly packedDot?: boolean;
}

function gemv(
  columnGroups: number,
  tileRows: number,
  subgroups: boolean,
  { ahead = 1, packedDot = true } = {},
): Variant {
  return {
    name: `GEMV of ${columnGroups} times 4 columns and ${tileRows} rows, ${ahead} blocks ahead, subgroups ${subgroups}, dot ${packedDot}`,
    file: "ternary-gemv.ts",
    kernel: "ternaryGemv",
    options: { workgroupSize: 64, subgroups, columnGroups, tileRows, ahead },
    tile: [tileRows, 4 * columnGroups],
    packedDot,
  };
}

function gemm(workgroupSize: number, rowThreads: number, edge: number, packedDot = true): Variant {
  const tile = [rowThreads * edge, (workgroupSize / rowThreads) * edge] as const;
  return {
    name: `GEMM of ${tile[0]} rows and ${tile[1]} columns, dot ${packedDot}`,
    file: "ternary-gemm.ts",
    kernel: "ternaryGemm",
    options: { workgroupSize, subgroups: false, rowThreads, edge },
    tile,
    packedDot,
  };
}

const variants = [
  ...subgroupVariants.flatMap((subgroups) => [gemv(1, 1, subgroups), gemv(2, 2, subgroups)]),
  gemv(1, 1, false, { packedDot: false }),
  gemv(2, 1, true, { ahead: 4 }),
  gemm(32, 4, 2),
  gemm(32, 8, 1, false),
];

/** Accumulators [m, n], columns from `cut` on by a dispatch of their own. */
async function run(variant: Variant, c: TernaryCase, cut = c.n): Promise<Float32Array> {
  const { m, n, k, group, q, w } = c;
  const grouped = group !== undefined;
  const aligned = grouped && group % 16 === 0;
  const kernel = await gpuKernel(
    variant.file,
    variant.kernel,
    { ...variant.options, grouped, aligned, epilogue: storedAcc(grouped ? "f32" : "i32") },
    { packedDot: variant.packedDot ?? true },
  );
  const groups = groupLengths(k, group).length;
  const common = { activations: padActivations(q, m, k), sums: rowSums(c), m, n, k, groupSize: group ?? 0 };
  const out = new Float32Array(m * n + 4).fill(42);
  for (const [first, last] of [
    [0, cut],
    [cut, n],
  ] as const) {
    const columns = last - first;
    if (columns === 0) continue;
    const alpha = c.alpha?.slice(first * groups, last * groups) ?? new Float32Array(columns);
    const [rows, width] = variant.tile;
    await kernel(
      {
        ...common,
        codes: packTernaryCodes(w.slice(first * k, last * k), columns, k, group),
        scales: packGroupScales(alpha, columns, grouped ? groups : 1),
        out,
        firstColumn: first,
        columns,
      },
      { workgroups: [Math.ceil(columns / width), Math.ceil(m / rows)] },
    );
  }
  expect([...out.subarray(m * n)], "output overrun").toEqual([42, 42, 42, 42]);
  return out.subarray(0, m * n);
}

describe.each(variants)("$name", (variant) => {
  test("multiplies any shape: exactly without groups, within tier T1 with them", async () => {
    await fc.assert(
      fc.asyncProperty(anyTernaryCase, fc.nat({ max: 2 }), async (c, cut) => {
        expectTernaryProduct(await run(variant, c, Math.min(4 * cut, c.n)), c);
      }),
      { numRuns: 12 },
    );
  });

  test("does not wrap where every product has the largest magnitude", async () => {
    const k = 131_072;
    for (const [activation, weight] of [
      [127, 1],
      [-128, -1],
    ] as const) {
      const c = { m: 1, n: 4, k, q: filled(k, () => activation), w: filled(4 * k, () => weight) };
      expectTernaryProduct(await run(variant, c), c);
    }
  });

  test("alternating signs cancel", async () => {
    const k = 4096;
    const alternate = (i: number) => (i % 2 === 0 ? 1 : -1);
    const q = filled(k, (i) => 127 * alternate(i));
    for (const w of [filled(k, () => 1), filled(k, alternate)]) {
      const c = { m: 1, n: 1, k, q, w };
      expectTernaryProduct(await run(variant, c), c);
    }
  });

  test.each([5, 16])("a short tail group of %i does not see its neighbour", async (group) => {
    const k = 2 * group + 2;
    const alpha = new Float32Array([1, 10, 100]);
    const c = { m: 1, n: 1, k, group, q: filled(k, (i) => i + 1), w: filled(k, () => 1), alpha };
    expectTernaryProduct(await run(variant, c), c);
  });
});
