import { describe, expect, test } from "vitest";
import { KernelHost, plainEpilogue } from "../../test/support/kernel-host.ts";
import { padTo } from "../../test/support/pack.ts";

const host = new KernelHost(32);

async function run(
  x: Float32Array,
  codes: Int8Array,
  scales: Float32Array,
  m: number,
  n: number,
  k: number,
  vector = true,
) {
  const kernel = await host.compile("int8-matmul.ts", "int8Matmul", plainEpilogue(vector));
  host.reset();
  const slack = new Uint8Array(n * k + 16).fill(127);
  slack.set(new Uint8Array(codes.buffer));
  const out = host.place(new Float32Array(m * n + 4).fill(42));
  const scratch = host.place(new Int16Array(2 * padTo(k, 8) + 1).fill(42));
  const given = {
    weights: host.place(slack),
    scales: host.place(scales),
    x: host.place(x),
    out,
    scratch,
    m,
    n,
    k,
  };
  const items = padTo(n, 4) / 4;
  const cut = Math.floor(items / 2);
  kernel({ ...given, xStride: k, begin: 0, end: cut });
  kernel({ ...given, xStride: k, begin: cut, end: items });
  expect([...out.data.subarray(m * n), scratch.data.at(-1)]).toEqual([42, 42, 42, 42, 42]);
  return out.data.slice(0, m * n);
}

function pseudoRandom(length: number, scale: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898 + 1) * scale);
}

describe("int8Matmul", () => {
  test.each([
    [1, 4, 64],
    [1, 1, 1],
    [2, 5, 3],
    [3, 7, 65],
    [1, 8, 2048],
    [1, 6, 2049],
    [1, 5, 5460],
  ])("m = %i, n = %i, k = %i stays within its bound", async (m, n, k) => {
    const x = pseudoRandom(m * k, 3);
    const codes = Int8Array.from({ length: n * k }, (_, i) => ((i * 37) % 255) - 127);
    const scales = Float32Array.from({ length: n }, (_, i) => 0.01 * (i + 1));
    for (const vector of [true, false]) {
      const out = await run(x, codes, scales, m, n, k, vector);
      out.forEach((value, index) => {
        const [row, column] = [Math.floor(index / n), index % n];
        let sum = 0;
        let weights = 0;
        let largest = 0;
        let magnitude = 0;
        for (let i = 0; i < k; i++) {
          const [xi, w] = [x[row * k + i]!, codes[column * k + i]!];
          sum += xi * w;
          magnitude += Math.abs(xi * w);
          weights += Math.abs(w);
          largest = Math.max(largest, Math.abs(xi));
        }
        const bound = 2 ** -29 * largest * weights + (Math.ceil(k / 2048) + 8) * 2 ** -24 * magnitude;
        expect(Math.abs(value - sum * scales[column]!)).toBeLessThanOrEqual(bound * scales[column]!);
      });
    }
  });

  test("does not wrap where every product has the largest magnitude", async () => {
    const k = 131_072;
    for (const sign of [1, -1]) {
      const x = new Float32Array(k).fill(1);
      const out = await run(x, new Int8Array(k).fill(127 * sign), Float32Array.of(1), 1, 1, k);
      expect(Math.abs(out[0]! / (127 * sign * k) - 1)).toBeLessThan(2 ** -22);
    }
  });

  test.each([
    ["zeros", [0, -0, 0], 0],
    ["magnitudes below 2^-99", [1e-31, -1e-31, 1e-35], 0],
    ["NaN", [1, Number.NaN, 2], Number.NaN],
    ["infinity", [1, Number.NEGATIVE_INFINITY, 2], Number.NaN],
  ])("a row of %s", async (_, values, wanted) => {
    const out = await run(Float32Array.from(values), Int8Array.of(1, 2, 3), Float32Array.of(1), 1, 1, 3);
    expect(out[0]).toBe(wanted);
  });

  test.each([1.5, 1.999])("a row of %d * 2^-100 is too small for a finite factor", async (size) => {
    const out = await run(
      Float32Array.of(size * 2 ** -100, -(2 ** -101)),
      Int8Array.of(2, 3),
      Float32Array.of(1),
      1,
      1,
      2,
    );
    expect(out[0]).toBe(0);
  });

  test.each([1.001 * 2 ** -99, 2 ** -90, 3e38])("a row as large as %d keeps its precision", async (size) => {
    const out = await run(
      Float32Array.of(size, -size / 3),
      Int8Array.of(2, 3),
      Float32Array.of(0.25),
      1,
      1,
      2,
    );
    expect(Math.abs(out[0]! / (size / 4) - 1)).toBeLessThan(2 ** -22);
  });
});
