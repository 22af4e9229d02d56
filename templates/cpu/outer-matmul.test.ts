import { describe, expect, test } from "vitest";
import { KernelHost } from "../../test/support/kernel-host.ts";
import { denseWeights } from "../../test/support/kernels/dense.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { groupLengths, packGroupScales, packTernaryCodes } from "../../test/support/pack.ts";

const host = new KernelHost(64);

/** m, n, p: tails of tiles, several items either way, and more rows of b than a panel holds. */
const shapes = [
  [1, 1, 1],
  [3, 5, 2],
  [5, 8, 7],
  [70, 9, 30],
  [4, 130, 20],
  [6, 70, 530],
] as const;

/**
 * Fails unless out = a @ b within the bound of a sum in any order, and where b is codes with scales a row, of half a
 * code of the largest a[i, l] * scale[l] of each panel for each code of b.
 */
function expectOuter(
  out: Float32Array,
  a: (i: number, p: number) => number,
  b: (p: number, j: number) => number,
  [m, n, p]: readonly [number, number, number],
  fixedPointScales?: Float32Array,
): void {
  for (let i = 0; i < m; i++) {
    const largest = new Float64Array(Math.ceil(p / 256));
    for (let l = 0; l < p && fixedPointScales; l++) {
      const panel = Math.floor(l / 256);
      largest[panel] = Math.max(largest[panel]!, Math.abs(a(i, l) * fixedPointScales[l]!));
    }
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let allowed = 0;
      for (let l = 0; l < p; l++) {
        const product = a(i, l) * b(l, j);
        sum += product;
        allowed += (p + 4) * 2 ** -24 * Math.abs(product);
        if (fixedPointScales) {
          allowed += (largest[Math.floor(l / 256)]! / 65_534) * Math.abs(b(l, j) / fixedPointScales[l]!);
        }
      }
      const error = Math.abs(out[i * n + j]! - sum);
      expect(error, `${i}, ${j}`).toBeLessThanOrEqual(allowed);
    }
  }
}

interface Right {
  readonly options: Readonly<Record<"b", string> & Record<"scaled" | "grouped", boolean>>;
  readonly bytes: Uint8Array | Int8Array;
  readonly scales: Float32Array;
  readonly stride: number;
  readonly groupSize: number;
  readonly value: (p: number, j: number) => number;
}

async function multiply(right: Right, shape: readonly [number, number, number], byColumns: boolean) {
  const [m, n, p] = shape;
  const kernel = await host.compile("outer-matmul.ts", "outerMatmul", { ...right.options, byColumns });
  host.reset();
  const [aRow, aColumn] = byColumns ? [1, m + 2] : [p + 3, 1];
  const a = host.place(pseudoRandom(m * (p + 3) + p * (m + 2), 2));
  const out = host.place(new Float32Array(m * n + 4).fill(42));
  const common = {
    a,
    out,
    b: host.place(right.bytes),
    scales: host.place(right.scales),
    scratch: host.place(new Float32Array(256 * 72 + 128)),
    ...{ m, n, p, aRow, aColumn, bStride: right.stride, groupSize: right.groupSize },
  };
  const items = Math.ceil(m / 64) * Math.ceil(n / 256);
  kernel({ ...common, begin: 0, end: 1 });
  kernel({ ...common, begin: 1, end: items });
  expect([...out.data.subarray(m * n)]).toEqual([42, 42, 42, 42]);
  const element = (i: number, l: number) => a.data[i * aRow + l * aColumn]!;
  const fixedPointScales = right.options.scaled ? right.scales : undefined;
  expectOuter(out.data.subarray(0, m * n), element, right.value, shape, fixedPointScales);
}

describe.each(shapes)("m = %i, n = %i, p = %i", (...shape) => {
  const [, n, p] = shape;

  test.each(["f32", "f16", "bf16"])("%s, by rows and by columns of a", async (b) => {
    const dense = denseWeights(b, p, n);
    const right = {
      options: { b, scaled: false, grouped: false },
      bytes: dense.bytes,
      scales: dense.scales,
      stride: n,
      groupSize: n,
      value: (l: number, j: number) => dense.values[l * n + j]!,
    };
    await multiply(right, shape, false);
    await multiply(right, shape, true);
  });

  test("int8 in padded rows, a scale a row", async () => {
    const stride = n + 5;
    const bytes = Int8Array.from({ length: p * stride + 16 }, (_, i) => ((i * 37) % 255) - 127);
    const scales = Float32Array.from({ length: p }, (_, i) => 0.01 + i / 100);
    const options = { b: "int8", scaled: true, grouped: false };
    const value = (l: number, j: number) => bytes[l * stride + j]! * scales[l]!;
    await multiply({ options, bytes, scales, stride, groupSize: n, value }, shape, true);
  });

  test.each([undefined, 64, 5, 12])("ternary, groups of %s", async (group) => {
    const codes = Int8Array.from({ length: p * n }, (_, i) => ((i * 7 + (i >> 3)) % 3) - 1);
    const groups = groupLengths(n, group).length;
    const alpha = Float32Array.from({ length: p * groups }, (_, i) => 0.5 + i / 7);
    const grouped = group !== undefined;
    const right = {
      options: { b: "ternary", scaled: !grouped, grouped },
      bytes: packTernaryCodes(codes, p, n, group),
      scales: packGroupScales(alpha, p, groups),
      stride: n,
      groupSize: group ?? n,
      value: (l: number, j: number) => codes[l * n + j]! * alpha[l * groups + Math.floor(j / (group ?? n))]!,
    };
    await multiply(right, shape, false);
  });
});

test("in fixed point zeros, what is next to nothing, and what is no number stay in their rows", async () => {
  const kernel = await host.compile("outer-matmul.ts", "outerMatmul", {
    ...{ b: "int8", scaled: true, grouped: false, byColumns: false },
  });
  host.reset();
  const rows = [0, 1e-38, 2 ** -99, 1, Number.NaN, Number.POSITIVE_INFINITY];
  const [m, n, p] = [rows.length, 8, 6];
  const a = Float32Array.from({ length: m * p }, (_, i) => (i % p === 3 ? rows[Math.floor(i / p)]! : 0));
  const out = host.place(new Float32Array(m * n));
  const given = {
    a: host.place(a),
    b: host.place(new Int8Array(p * n).fill(-128)),
    scales: host.place(new Float32Array(p).fill(1)),
    scratch: host.place(new Float32Array(256 * 72 + 128)),
    ...{ out, m, n, p, aRow: p, aColumn: 1, bStride: n, groupSize: n, begin: 0, end: 1 },
  };
  kernel(given);
  const first = rows.map((_, row) => out.data[row * n]!);
  expect(first.slice(0, 2).every((value) => Math.abs(value) <= 1e-38 * 128)).toBe(true);
  expect(first[2]).toBeCloseTo(-128 * 2 ** -99, 100);
  expect(first.slice(3)).toEqual([-128, Number.NaN, Number.NaN]);
});
