import { describe, expect, test } from "vitest";
import { type Dense, denseWeights, expectProduct, f16Value } from "../../test/support/kernels/dense.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { gpuKernel, storedAcc } from "../../test/support/kernels/gpu-variants.ts";
import { groupLengths, packGroupScales, packTernaryCodes } from "../../test/support/pack.ts";

interface Variant {
  readonly name: string;
  readonly kind: "gemv" | "gemm";
  readonly options: { readonly [option: string]: number | boolean };
  /** Rows and columns that a workgroup computes. */
  readonly tile: readonly [rows: number, columns: number];
}

function gemv(tileColumns: number, tileRows: number, subgroups: boolean): Variant {
  return {
    name: `GEMV of ${tileColumns} columns and ${tileRows} rows, subgroups ${subgroups}`,
    kind: "gemv",
    options: { workgroupSize: 32, subgroups, tileColumns, tileRows },
    tile: [tileRows, tileColumns],
  };
}

const gemm: Variant = {
  name: "GEMM of 8 rows and 16 columns",
  kind: "gemm",
  options: { workgroupSize: 32, subgroups: false, rowThreads: 4, edge: 2 },
  tile: [8, 16],
};

const shapes = [
  [1, 4, 64],
  [1, 1, 1],
  [2, 5, 3],
  [5, 7, 63],
  [4, 8, 65],
  [9, 18, 200],
] as const;

/** Columns 4 to 7 of eight are a dispatch of their own; there rows of weights start at whole words. */
function cutColumns(n: number): readonly (readonly [first: number, last: number])[] {
  if (n !== 8) return [[0, n]];
  return [
    [0, 4],
    [4, n],
  ];
}

const perWord: { readonly [kind: string]: number } = { f32: 1, f16: 2, bf16: 2, int8: 4 };

describe.each([gemv(4, 2, true), gemv(2, 1, false), gemm])("$name", (variant) => {
  const epilogue = storedAcc("f32");
  const grid = (m: number, columns: number) => {
    const [rows, width] = variant.tile;
    return { workgroups: [Math.ceil(columns / width), Math.ceil(m / rows)] as const };
  };

  describe.each(["f32", "f16", "bf16", "int8"])("of %s weights", (weight) => {
    test.each(shapes)("m = %i, n = %i, k = %i", async (m, n, k) => {
      const aligned = k % perWord[weight]! === 0;
      const options = { ...variant.options, weight, aligned, epilogue };
      const kernel =
        variant.kind === "gemv"
          ? await gpuKernel("dense-gemv.ts", "denseGemv", options)
          : await gpuKernel("dense-gemm.ts", "denseGemm", options);
      const dense = denseWeights(weight, n, k);
      const xStride = k + 3;
      const x = pseudoRandom(m * xStride, 2);
      const out = new Float32Array(m * n + 4).fill(42);
      const rowBytes = (4 / perWord[weight]!) * k;
      for (const [first, last] of cutColumns(n)) {
        const weights = dense.bytes.slice(first * rowBytes);
        const scales = dense.scales.slice(first);
        const sizes = { m, n, k, xStride, firstColumn: first, columns: last - first };
        await kernel({ weights, scales, x, out, ...sizes }, grid(m, last - first));
      }
      expect([...out.subarray(m * n)]).toEqual([42, 42, 42, 42]);
      expectProduct(out.subarray(0, m * n), x, xStride, dense.values, n, k);
    });
  });

  describe("of ternary weights", () => {
    const cases = [
      ...shapes.map((shape) => [...shape, undefined] as const),
      [5, 6, 300, 128] as const,
      [1, 3, 12, 5] as const,
      [2, 4, 130, 64] as const,
    ];
    test.each(cases)("m = %i, n = %i, k = %i, groups of %s", async (m, n, k, group) => {
      const options = { ...variant.options, grouped: group !== undefined, epilogue };
      const kernel =
        variant.kind === "gemv"
          ? await gpuKernel("ternary-dense-gemv.ts", "ternaryDenseGemv", options)
          : await gpuKernel("ternary-dense-gemm.ts", "ternaryDenseGemm", options);
      const codes = Int8Array.from({ length: n * k }, (_, i) => ((i * 7 + (i >> 3)) % 3) - 1);
      const groups = groupLengths(k, group).length;
      const alpha = Float32Array.from({ length: n * groups }, (_, i) => 0.5 + i / 7);
      const xStride = k + 1;
      // What lies between rows and in no row is not to be multiplied.
      const x = pseudoRandom(m * xStride, 2).map((value, i) => (i % xStride < k ? value : Number.NaN));
      const out = new Float32Array(m * n + 4).fill(42);
      const [rows] = variant.tile;
      const width = variant.kind === "gemv" ? 4 : variant.tile[1];
      for (const [first, last] of cutColumns(n)) {
        const columns = last - first;
        await kernel(
          {
            codes: packTernaryCodes(codes.slice(first * k, last * k), columns, k, group),
            scales: packGroupScales(alpha.slice(first * groups, last * groups), columns, groups),
            ...{ x, out, m, n, k, xStride, groupSize: group ?? 0, firstColumn: first, columns },
          },
          { workgroups: [Math.ceil(columns / width), Math.ceil(m / rows)] },
        );
      }
      expect([...out.subarray(m * n)]).toEqual([42, 42, 42, 42]);
      const values = Float64Array.from(codes, (code, i) => {
        const [row, column] = [Math.floor(i / k), i % k];
        return code * alpha[row * groups + Math.floor(column / (group ?? k))]!;
      });
      expectProduct(out.subarray(0, m * n), x, xStride, values, n, k);
    });
  });
});

describe.each(["f32", "f16", "bf16", "int8", "ternary"])("embedding of %s weights", (weight) => {
  test.each([1, 3, 8, 63, 65, 200])("rows of %i", async (width) => {
    const kernel = await gpuKernel("embedding.ts", "embedding", {
      workgroupSize: 32,
      subgroups: false,
      weight,
      grouped: false,
    });
    const [vocab, rows] = [7, 6];
    const ids = Int32Array.of(6, 0, 3, -1, 7, 4);
    const codes = Int8Array.from({ length: vocab * width }, (_, i) => ((i * 5 + (i >> 2)) % 3) - 1);
    const dense: Dense =
      weight === "ternary"
        ? {
            bytes: packTernaryCodes(codes, vocab, width),
            scales: packGroupScales(
              Float32Array.from({ length: vocab }, (_, i) => 1 + i),
              vocab,
              1,
            ),
            values: Float64Array.from(codes, (code, i) => code * (1 + Math.floor(i / width))),
          }
        : denseWeights(weight, vocab, width);
    const out = new Float32Array(rows * width + 1).fill(42);
    const whole = { weights: dense.bytes, scales: dense.scales, ids, out, rows, vocab, width, groupSize: 0 };
    if (width === 8 && weight !== "ternary") {
      const rowBytes = (4 / perWord[weight]!) * width;
      const first = { weights: dense.bytes.slice(0, 4 * rowBytes) };
      const second = { weights: dense.bytes.slice(4 * rowBytes), scales: dense.scales.slice(4) };
      await kernel({ ...whole, ...second, firstId: 4, count: 3 }, { workgroups: 6 });
      await kernel({ ...whole, ...first, firstId: 0, count: 4 }, { workgroups: 4 });
    } else {
      await kernel({ ...whole, firstId: 0, count: vocab }, { workgroups: 4 });
    }
    expect(out.at(-1)).toBe(42);
    ids.forEach((id, row) => {
      const got = [...out.subarray(row * width, (row + 1) * width)];
      const known = id >= 0 && id < vocab;
      const wanted = got.map((_, i) => (known ? Math.fround(dense.values[id * width + i]!) : Number.NaN));
      // The product 0 * -1 may be either zero.
      expect(got.map((value) => value + 0)).toEqual(wanted.map((value) => value + 0));
    });
  });
});

test("a ternary embedding with groups takes each group's scale", async () => {
  const kernel = await gpuKernel("embedding.ts", "embedding", {
    workgroupSize: 32,
    subgroups: false,
    weight: "ternary",
    grouped: true,
  });
  const [vocab, width, group] = [3, 150, 70];
  const codes = Int8Array.from({ length: vocab * width }, (_, i) => (i % 3) - 1);
  const alpha = Float32Array.from({ length: vocab * 3 }, (_, i) => i + 1);
  const out = new Float32Array(width);
  await kernel(
    {
      weights: packTernaryCodes(codes, vocab, width, group),
      scales: packGroupScales(alpha, vocab, 3),
      ids: Int32Array.of(2),
      ...{ out, rows: 1, vocab, width, groupSize: group, firstId: 0, count: vocab },
    },
    { workgroups: 1 },
  );
  out.forEach((value, i) => {
    expect(value + 0).toBe(codes[2 * width + i]! * alpha[6 + Math.floor(i / group)]! + 0);
  });
});

test("every f16 decodes exactly", async () => {
  const kernel = await gpuKernel("embedding.ts", "embedding", {
    workgroupSize: 256,
    subgroups: false,
    weight: "f16",
    grouped: false,
  });
  const weights = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  const out = new Float32Array(65_536);
  const sizes = { rows: 1, vocab: 1, width: 65_536, groupSize: 0, firstId: 0, count: 1 };
  await kernel({ weights, scales: out, ids: new Int32Array(1), out, ...sizes }, { workgroups: 1 });
  expect(out).toEqual(Float32Array.from(weights, f16Value));
});
