import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gpuKernel, subgroupVariants } from "../../test/support/kernels/gpu-variants.ts";

interface Found {
  readonly values: number[][];
  readonly indices: number[][];
}

/** The `count` largest of each row in rounds of chunks, until one chunk has them all. */
async function run(
  rows: readonly (readonly number[])[],
  count: number,
  chunk: number,
  subgroups: boolean,
): Promise<Found> {
  const options = { workgroupSize: 32, subgroups };
  let candidates = rows[0]!.length;
  let stride = candidates + 1;
  let values = Float32Array.from(rows.flatMap((row) => [...row, Number.POSITIVE_INFINITY]));
  let indices = new Int32Array(1);
  for (let all = true; all || candidates > count; all = false) {
    const chunks = Math.ceil(candidates / chunk);
    const outValues = new Float32Array(rows.length * chunks * count + 1).fill(42);
    const outIndices = new Int32Array(rows.length * chunks * count + 1).fill(42);
    const kernel = await gpuKernel("top-k.ts", "topK", { ...options, all });
    const sizes = { rows: rows.length, candidates, stride, chunk, count };
    // A workgroup may have several chunks.
    const grid = { workgroups: Math.min(chunks * rows.length, 5) };
    await kernel({ values, indices, outValues, outIndices, ...sizes }, grid);
    expect([outValues.at(-1), outIndices.at(-1)]).toEqual([42, 42]);
    candidates = chunks * count;
    stride = candidates;
    values = outValues.subarray(0, -1);
    indices = outIndices.subarray(0, -1);
  }
  const split = (list: Float32Array | Int32Array) =>
    rows.map((_, row) => [...list.subarray(row * count, (row + 1) * count)]);
  return { values: split(values), indices: split(indices) };
}

/** NaN above all, then by value, then by index; -0 equals 0. */
function reference(row: readonly number[], count: number): { values: number[]; indices: number[] } {
  const order = row.map((_, i) => i);
  const rank = (x: number) => (Number.isNaN(x) ? [1, 0] : [0, x]) as [number, number];
  order.sort((a, b) => {
    const [x, y] = [rank(row[a]!), rank(row[b]!)];
    if (x[0] !== y[0]) return y[0] - x[0];
    if (x[1] !== y[1]) return x[1] < y[1] ? 1 : -1;
    return a - b;
  });
  const padding = new Array<number>(Math.max(0, count - row.length));
  const best = order.slice(0, count);
  return {
    values: [...best.map((i) => row[i]! + 0), ...padding.fill(0)],
    indices: [...best, ...padding.fill(-1)],
  };
}

async function expectTop(
  rows: readonly (readonly number[])[],
  count: number,
  chunk: number,
  subgroups: boolean,
) {
  const found = await run(rows, count, chunk, subgroups);
  rows.forEach((row, i) => {
    const wanted = reference(row, count);
    expect(found.indices[i]).toEqual(wanted.indices);
    expect(found.values[i]).toEqual(wanted.values);
  });
}

const logit = fc.oneof(
  { weight: 10, arbitrary: fc.float({ noNaN: true }) },
  // Equal ones, and zeros of both signs.
  { weight: 5, arbitrary: fc.constantFrom(-1, 0, -0, 1, 2.5) },
);

describe.each(subgroupVariants)("topK, subgroups %s", (subgroups) => {
  test("equals a sort, in chunks of any size", async () => {
    const cases = fc
      .record({
        length: fc.integer({ min: 1, max: 300 }),
        rows: fc.integer({ min: 1, max: 3 }),
        count: fc.integer({ min: 1, max: 8 }),
        share: fc.integer({ min: 1, max: 4 }),
      })
      .chain(({ length, rows, count, share }) =>
        fc.record({
          values: fc.array(fc.array(logit, { minLength: length, maxLength: length }), {
            minLength: rows,
            maxLength: rows,
          }),
          count: fc.constant(count),
          // More than `count`, or there would be no progress.
          chunk: fc.constant(Math.max(2 * count, Math.ceil(length / share))),
        }),
      );
    await fc.assert(
      fc.asyncProperty(cases, async ({ values, count, chunk }) => {
        await expectTop(values, count, chunk, subgroups);
      }),
      { numRuns: 25 },
    );
  });

  test("argmax is its first value", async () => {
    await expectTop([[3, 7, 7, -1, 7]], 1, 2, subgroups);
    await expectTop([[Number.NEGATIVE_INFINITY, -(2 ** 127)]], 1, 2, subgroups);
    await expectTop([new Array<number>(5000).fill(0.5)], 1, 1024, subgroups);
  });

  test("NaN of either sign is above all", async () => {
    const negative = new Float32Array(new Uint32Array([0xffc00000]).buffer)[0]!;
    await expectTop([[1, Number.POSITIVE_INFINITY, Number.NaN, 2]], 3, 8, subgroups);
    const { values, indices } = await run([[1, 2, negative]], 2, 8, subgroups);
    expect([values[0]![0], indices[0]!]).toEqual([Number.NaN, [2, 1]]);
  });
});
