import { describe, expect, test } from "vitest";
import { KernelHost, plainEpilogue } from "../../test/support/kernel-host.ts";
import { type Dense, denseWeights, expectProduct, f16Value } from "../../test/support/kernels/dense.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { groupLengths, packGroupScales, packTernaryCodes, padTo } from "../../test/support/pack.ts";

const host = new KernelHost(32);

const shapes = [
  [1, 4, 64],
  [1, 1, 1],
  [2, 5, 3],
  [5, 7, 63],
  [4, 8, 65],
  [3, 6, 200],
] as const;

describe.each(["f32", "f16", "bf16", "int8"])("denseMatmul of %s weights", (weight) => {
  describe.each([1, 4])("%i rows at a time", (tileRows) => {
    test.each(shapes)("m = %i, n = %i, k = %i", async (m, n, k) => {
      const kernel = await host.compile("dense-matmul.ts", "denseMatmul", {
        weight,
        tileRows,
        ...plainEpilogue(tileRows === 4),
      });
      host.reset();
      const dense = denseWeights(weight, n, k);
      const xStride = k + 3;
      const x = host.place(pseudoRandom(m * xStride, 2));
      const out = host.place(new Float32Array(m * n + 4).fill(42));
      const weights = host.place(dense.bytes);
      const scales = host.place(dense.scales);
      const items = padTo(n, 4) / 4;
      const common = { weights, scales, x, out, m, n, k, xStride };
      kernel({ ...common, begin: 0, end: 1 });
      kernel({ ...common, begin: 1, end: items });
      expect([...out.data.subarray(m * n)]).toEqual([42, 42, 42, 42]);
      expectProduct(out.data.subarray(0, m * n), x.data, xStride, dense.values, n, k);
    });
  });
});

describe.each([1, 4])("ternaryDenseMatmul, %i rows at a time", (tileRows) => {
  const cases = [
    ...shapes.map((shape) => [...shape, undefined] as const),
    [5, 6, 300, 128] as const,
    [1, 3, 12, 5] as const,
    [2, 4, 130, 64] as const,
  ];
  test.each(cases)("m = %i, n = %i, k = %i, groups of %s", async (m, n, k, group) => {
    const grouped = group !== undefined;
    const kernel = await host.compile("ternary-dense-matmul.ts", "ternaryDenseMatmul", {
      grouped,
      tileRows,
      ...plainEpilogue(tileRows === 1),
    });
    host.reset();
    const codes = Int8Array.from({ length: n * k }, (_, i) => ((i * 7 + (i >> 3)) % 3) - 1);
    const groups = groupLengths(k, group).length;
    const alpha = Float32Array.from({ length: n * groups }, (_, i) => 0.5 + i / 7);
    const xStride = k + 1;
    const x = host.place(pseudoRandom(m * xStride, 2));
    const out = host.place(new Float32Array(m * n + 4).fill(42));
    kernel({
      codes: host.place(packTernaryCodes(codes, n, k, group)),
      scales: host.place(packGroupScales(alpha, n, groups)),
      ...{ x, out, m, n, k, xStride, groupSize: group ?? 0, begin: 0, end: padTo(n, 4) / 4 },
    });
    expect([...out.data.subarray(m * n)]).toEqual([42, 42, 42, 42]);
    const values = Float64Array.from(codes, (code, i) => {
      const [row, column] = [Math.floor(i / k), i % k];
      return code * alpha[row * groups + Math.floor(column / (group ?? k))]!;
    });
    expectProduct(out.data.subarray(0, m * n), x.data, xStride, values, n, k);
  });
});

describe.each(["f32", "f16", "bf16", "int8", "ternary"])("embedding of %s weights", (weight) => {
  test.each([1, 3, 8, 63, 65, 200])("rows of %i", async (width) => {
    const kernel = await host.compile("embedding.ts", "embedding", { weight, grouped: false });
    host.reset();
    const vocab = 7;
    const ids = host.place(Int32Array.of(6, 0, 3, -1, 7, 3));
    const out = host.place(new Float32Array(6 * width + 1).fill(42));
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
    const weights = host.place(dense.bytes);
    const scales = host.place(dense.scales);
    kernel({ weights, scales, ids, out, vocab, width, begin: 0, end: 2 });
    kernel({ weights, scales, ids, out, vocab, width, begin: 2, end: 6 });
    expect(out.data.at(-1)).toBe(42);
    ids.data.forEach((id, row) => {
      const got = [...out.data.subarray(row * width, (row + 1) * width)];
      const known = id >= 0 && id < vocab;
      const wanted = got.map((_, i) => (known ? Math.fround(dense.values[id * width + i]!) : Number.NaN));
      // The product 0 * -1 may be either zero.
      expect(got.map((value) => value + 0)).toEqual(wanted.map((value) => value + 0));
    });
  });
});

test("a ternary embedding with groups takes each group's scale", async () => {
  const kernel = await host.compile("embedding.ts", "embedding", { weight: "ternary", grouped: true });
  host.reset();
  const [vocab, width, group] = [3, 150, 70];
  const codes = Int8Array.from({ length: vocab * width }, (_, i) => (i % 3) - 1);
  const alpha = Float32Array.from({ length: vocab * 3 }, (_, i) => i + 1);
  const out = host.place(new Float32Array(width));
  kernel({
    weights: host.place(packTernaryCodes(codes, vocab, width, group)),
    scales: host.place(packGroupScales(alpha, vocab, 3)),
    ids: host.place(Int32Array.of(2)),
    ...{ out, vocab, width, groupSize: group, begin: 0, end: 1 },
  });
  out.data.forEach((value, i) => {
    expect(value + 0).toBe(codes[2 * width + i]! * alpha[6 + Math.floor(i / group)]! + 0);
  });
});

test("every f16 decodes exactly", async () => {
  const kernel = await host.compile("embedding.ts", "embedding", { weight: "f16", grouped: false });
  host.reset();
  const codes = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  const out = host.place(new Float32Array(65_536));
  const weights = host.place(codes);
  kernel({ weights, ids: host.place(new Int32Array(1)), out, vocab: 1, width: 65_536, begin: 0, end: 1 });
  expect(out.data).toEqual(Float32Array.from(codes, f16Value));
});
