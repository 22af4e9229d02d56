import { describe, expect, test } from "vitest";
import { add, call, i32, local, mul } from "../../codegen/kernel/build.ts";
import { loadTemplate, specialize } from "../../codegen/kernel/frontend.ts";
import { inline } from "../../test/support/kernel-host.ts";
import {
  type AttentionShape,
  attend,
  attentionShapes,
  expectAttention,
  range,
} from "../../test/support/kernels/attention.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { gpuKernel, subgroupVariants } from "../../test/support/kernels/gpu-variants.ts";
import { quantizeRows } from "../../test/support/kernels/quantized.ts";
import { rotate } from "../../test/support/kernels/rows.ts";

const small = { workgroupSize: 32, subgroups: false, rowThreads: 4, edge: 2 };
const large = { workgroupSize: 64, subgroups: false, rowThreads: 4, edge: 4 };

function grid({ batch, seq, heads, kvHeads }: AttentionShape, tile: typeof small) {
  const queries = tile.rowThreads * tile.edge;
  return { workgroups: [Math.ceil((seq * heads) / kvHeads / queries), batch * kvHeads] as const };
}

describe.each([
  ["8 queries and 16 keys", small, attentionShapes],
  ["16 queries and 64 keys", large, attentionShapes.slice(-1)],
] as const)("attention in tiles of %s", (_, tile, shapes) => {
  test.each(shapes)("without a cache: $batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await gpuKernel("attention.ts", "attention", { ...tile, cached: false, dim });
    const [qStride, keyStride, valueStride] = [heads * dim + 3, kvHeads * dim + 1, kvHeads * dim + 2];
    const rows = batch * seq;
    const q = pseudoRandom(rows * qStride, 2);
    const keys = pseudoRandom(rows * keyStride, 2, 5);
    const values = pseudoRandom(rows * valueStride, 1, 9);
    const out = new Float32Array(rows * heads * dim + 1).fill(42);
    const scale = Math.fround(1 / Math.sqrt(dim));
    const sizes = { seq, heads, kvHeads, capacity: seq, qStride, keyStride, valueStride, scale };
    await kernel({ q, keys, values, out, ...sizes }, grid(shape, tile));
    expect(out.at(-1)).toBe(42);
    const strides = { key: keyStride, value: valueStride };
    const wanted = attend(shape, q, qStride, keys, values, strides, scale, (b, t) => range(t + 1, b * seq));
    expectAttention(out, wanted);
  });

  test.each(shapes)("with a cache: $batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await gpuKernel("attention.ts", "attention", { ...tile, cached: true, dim });
    const capacity = seq + 13;
    const stride = kvHeads * dim;
    const q = pseudoRandom(batch * seq * heads * dim, 2);
    const cache = cacheOf(shape, capacity, (b) => 5 * b + seq);
    const out = new Float32Array(batch * seq * heads * dim);
    const scale = 0.3;
    const strides = { qStride: heads * dim, keyStride: stride, valueStride: stride };
    const slots = Int32Array.from(range(batch), slotOf);
    const positions = Int32Array.from(range(batch), (b) => 5 * b);
    const sizes = { seq, heads, kvHeads, capacity, scale, ...strides };
    await kernel({ q, ...cache, slots, positions, out, ...sizes }, grid(shape, tile));
    const both = { key: stride, value: stride };
    const wanted = attend(shape, q, heads * dim, cache.keys, cache.values, both, scale, (b, t) =>
      range(5 * b + t + 1, slotOf(b) * capacity),
    );
    expectAttention(out, wanted);
  });
});

function slotOf(b: number): number {
  return 2 - b;
}

/** Caches of three slots; what lies beyond a sequence's `visible` rows would show. */
function cacheOf({ batch, kvHeads, dim }: AttentionShape, capacity: number, visible: (b: number) => number) {
  const stride = kvHeads * dim;
  const keys = pseudoRandom(3 * capacity * stride, 2, 5);
  const values = pseudoRandom(3 * capacity * stride, 1, 9);
  for (let b = 0; b < batch; b++) {
    const unseen = (slotOf(b) * capacity + visible(b)) * stride;
    keys.fill(Number.NaN, unseen, (slotOf(b) + 1) * capacity * stride);
    values.fill(Number.NaN, unseen, (slotOf(b) + 1) * capacity * stride);
  }
  return { keys, values };
}

interface Decode extends AttentionShape {
  readonly capacity: number;
  /** Keys of a workgroup. */
  readonly keys: number;
  /** 32 unless given. */
  readonly workgroupSize?: number;
  /** The new row of each sequence. */
  readonly positions: readonly number[];
}

const decodes: Decode[] = [
  { batch: 1, seq: 1, heads: 1, kvHeads: 1, dim: 4, capacity: 8, keys: 16, positions: [0] },
  { batch: 2, seq: 1, heads: 4, kvHeads: 2, dim: 16, capacity: 40, keys: 16, positions: [3, 39] },
  { batch: 3, seq: 1, heads: 3, kvHeads: 1, dim: 40, capacity: 50, keys: 32, positions: [31, 32, 17] },
  { batch: 1, seq: 1, heads: 8, kvHeads: 2, dim: 128, capacity: 130, keys: 64, positions: [127] },
  { batch: 1, seq: 1, heads: 4, kvHeads: 1, dim: 64, capacity: 64, keys: 64, positions: [63] },
  {
    ...{ batch: 1, seq: 1, heads: 8, kvHeads: 2, dim: 128, capacity: 130, keys: 64, positions: [100] },
    workgroupSize: 256,
  },
  // Outside the capacity: nothing is written, the nearest rows are seen.
  { batch: 2, seq: 1, heads: 2, kvHeads: 2, dim: 8, capacity: 20, keys: 16, positions: [-5, 22] },
];

describe.each(subgroupVariants)("attentionDecode, subgroups %s", (subgroups) => {
  describe.each([false, true])("writes the new row: %s", (fresh) => {
    test.each(decodes)(
      "$batch sequences, $heads heads on $kvHeads, dim $dim, $capacity rows in parts of $keys",
      async (shape) => {
        const { batch, heads, kvHeads, dim, capacity } = shape;
        const whole = capacity <= shape.keys;
        const together = heads / kvHeads;
        const kernel = await gpuKernel("attention-decode.ts", "attentionDecode", {
          ...{ workgroupSize: shape.workgroupSize ?? 32, keys: shape.keys },
          ...{ subgroups, dim, together, fresh, whole },
        });
        const stride = kvHeads * dim;
        const newRow = (b: number) => (slotOf(b) * capacity + shape.positions[b]!) * stride;
        const visible = (b: number) => Math.max(1, Math.min(capacity, shape.positions[b]! + 1));
        const cache = cacheOf(shape, capacity, visible);

        // Rows of q, keys and values, with a gap before each; q and keys as they are before they are rotated.
        const qOffset = 3;
        const keyOffset = qOffset + heads * dim + 2;
        const valueOffset = keyOffset + stride + 1;
        const qStride = valueOffset + stride;
        const rows = pseudoRandom(batch * qStride, 2, 3);
        const tableRows = Math.min(capacity, Math.max(...shape.positions) + 1);
        const cos = pseudoRandom(tableRows * (dim / 2), 1, 11);
        const sin = pseudoRandom(tableRows * (dim / 2), 1, 13);
        const positions = Int32Array.from(shape.positions);
        const angles = positions.map((position) => Math.max(0, Math.min(position, tableRows - 1)));
        const rotated = (from: number, ofHeads: number) =>
          rotate({ ...shape, seq: 1, heads: ofHeads }, rows.subarray(from), qStride, cos, sin, angles);
        const q = fresh ? rotated(qOffset, heads) : pseudoRandom(batch * heads * dim, 2, 3);
        const expected = { keys: cache.keys.slice(), values: cache.values.slice() };
        if (fresh) {
          const newKeys = rotated(keyOffset, kvHeads);
          for (let b = 0; b < batch; b++) {
            if (positions[b]! < 0 || positions[b]! >= capacity) continue;
            const value = rows.subarray(b * qStride + valueOffset, b * qStride + valueOffset + stride);
            expected.keys.set(newKeys.subarray(b * stride, (b + 1) * stride), newRow(b));
            expected.values.set(value, newRow(b));
            cache.keys.fill(Number.NaN, newRow(b), newRow(b) + stride);
            cache.values.fill(Number.NaN, newRow(b), newRow(b) + stride);
          }
        }

        const splits = Math.ceil(capacity / shape.keys);
        const out = new Float32Array(batch * heads * (whole ? dim : splits * (dim + 2))).fill(Number.NaN);
        const scale = Math.fround(1 / Math.sqrt(dim));
        const input = fresh
          ? { q: rows, qStride, qOffset, keyOffset, valueOffset, cos, sin, length: tableRows }
          : { q, qStride: heads * dim, qOffset: 0 };
        const slots = Int32Array.from(range(batch), slotOf);
        await kernel(
          { ...input, ...cache, slots, positions, out, kvHeads, capacity, scale },
          { workgroups: [splits, batch * kvHeads] },
        );
        let result = out;
        if (!whole) {
          result = new Float32Array(batch * heads * dim);
          const combine = await gpuKernel("attention-combine.ts", "attentionCombine", { workgroupSize: 32 });
          const sizes = { batch, heads, dim, splits, keys: shape.keys, capacity };
          await combine({ partials: out, positions, out: result, ...sizes }, { workgroups: 2 });
        }
        const wanted = attend(
          shape,
          q,
          heads * dim,
          expected.keys,
          expected.values,
          { key: stride, value: stride },
          scale,
          (b) => range(visible(b), slotOf(b) * capacity),
        );
        expectAttention(result, wanted);
        cache.values.forEach((value, i) => {
          if (!Object.is(value, expected.values[i])) expect.fail(`values[${i}] is ${value}`);
        });
        cache.keys.forEach((key, i) => {
          const want = expected.keys[i]!;
          // 2 ulp of |(x1, x2)| <= 2 sqrt 2 where the row is new.
          if (!Object.is(key, want) && !(Math.abs(key - want) <= 2 * 2 ** -22)) {
            expect.fail(`keys[${i}] is ${key} instead of ${want}`);
          }
        });
      },
    );
  });
});

test("a quantizer combines parts of attention in its prologue", async () => {
  const [batch, heads, dim, splits, keys, capacity] = [2, 3, 8, 3, 32, 96];
  const width = dim + 2;
  const partials = pseudoRandom(batch * heads * splits * width, 1);
  // The sums of weights are positive.
  for (let end = width - 1; end < partials.length; end += width) partials[end] = 1 + partials[end]! ** 2;
  const given = { partials, positions: Int32Array.of(40, 95), heads, dim, splits, keys, capacity };

  const combined = new Float32Array(batch * heads * dim);
  const combine = await gpuKernel("attention-combine.ts", "attentionCombine", { workgroupSize: 32 });
  await combine({ ...given, batch, out: combined }, { workgroups: 1 });

  const file = new URL("attention-combine.ts", import.meta.url).pathname;
  const helper = specialize(await loadTemplate(file, "combinedAttention"), { name: "combined_attention" });
  const captures = helper.parameters.slice(0, -1);
  const index = add(mul(local("row", "i32"), i32(heads * dim)), local("column", "i32"));
  const values = [
    ...captures.map((parameter) =>
      parameter.kind === "buffer" ? parameter : local(parameter.name, parameter.type),
    ),
    index,
  ];
  const position = [
    ["row", "i32"],
    ["column", "i32"],
  ] as const;
  const prologue = { ...inline(position, call(helper, values), captures), helpers: [helper] };
  const k = heads * dim;
  const options = { workgroupSize: 32, subgroups: false, held: 1, norm: false, perTensor: false, qmax: 127 };
  const quantize = await gpuKernel("quantize.ts", "quantize", { ...options, prologue });
  const codes = new Int8Array(batch * 64);
  const d = new Float32Array(batch);
  const sums = new Int32Array(batch);
  const sizes = { rows: batch, k, kPadded: 64 };
  await quantize({ ...given, codes, d, sums, ...sizes }, { workgroups: batch });
  expect({ codes, d, sums }).toEqual(quantizeRows(combined, batch, k, 127, false));
});
