import { describe, expect, test } from "vitest";
import { KernelHost } from "../../test/support/kernel-host.ts";

const host = new KernelHost(64);

function pseudoRandom(length: number, scale: number, seed = 1): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin((i + seed) * 12.9898 + seed) * scale);
}

interface Shape {
  readonly batch: number;
  readonly seq: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
}

/** Softmax attention in f64; `rowsOf` gives the key rows that query t of a batch sees. */
function reference(
  { batch, seq, heads, kvHeads, dim }: Shape,
  q: Float32Array,
  qStride: number,
  keys: Float32Array,
  values: Float32Array,
  strides: { readonly key: number; readonly value: number },
  scale: number,
  rowsOf: (batch: number, t: number) => readonly number[],
): Float64Array {
  const out = new Float64Array(batch * seq * heads * dim);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < seq; t++) {
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads)) * dim;
        const rows = rowsOf(b, t);
        const scores = rows.map((row) => {
          let dot = 0;
          for (let i = 0; i < dim; i++)
            dot += q[(b * seq + t) * qStride + h * dim + i]! * keys[row * strides.key + kv + i]!;
          return dot * scale;
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((total, weight) => total + weight, 0);
        rows.forEach((row, j) => {
          for (let i = 0; i < dim; i++) {
            out[((b * seq + t) * heads + h) * dim + i]! +=
              (weights[j]! / sum) * values[row * strides.value + kv + i]!;
          }
        });
      }
    }
  }
  return out;
}

function expectClose(out: Float32Array, wanted: Float64Array): void {
  wanted.forEach((value, i) => {
    expect(Math.abs(out[i]! - value), `element ${i}`).toBeLessThanOrEqual(1e-5);
  });
}

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i);

const shapes: Shape[] = [
  { batch: 1, seq: 1, heads: 1, kvHeads: 1, dim: 4 },
  { batch: 2, seq: 5, heads: 2, kvHeads: 2, dim: 16 },
  { batch: 1, seq: 7, heads: 4, kvHeads: 1, dim: 8 },
  { batch: 1, seq: 3, heads: 20, kvHeads: 5, dim: 128 },
  { batch: 1, seq: 150, heads: 3, kvHeads: 1, dim: 40 },
  { batch: 2, seq: 4, heads: 6, kvHeads: 2, dim: 7 },
  { batch: 1, seq: 70, heads: 7, kvHeads: 1, dim: 33 },
];

describe("without a cache", () => {
  test.each(shapes)("$batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await host.compile("attention.ts", "attention", { cached: false });
    host.reset();
    const [qStride, keyStride, valueStride] = [heads * dim + 3, kvHeads * dim + 1, kvHeads * dim + 2];
    const rows = batch * seq;
    const q = host.place(pseudoRandom(rows * qStride, 2));
    const keys = host.place(pseudoRandom(rows * keyStride, 2, 5));
    const values = host.place(pseudoRandom(rows * valueStride, 1, 9));
    const out = host.place(new Float32Array(rows * heads * dim + 1).fill(42));
    const scratch = host.place(new Float32Array(4 * Math.ceil(seq / 4) * 4 + 1).fill(42));
    const scale = Math.fround(1 / Math.sqrt(dim));
    const common = {
      q,
      keys,
      values,
      out,
      scratch,
      seq,
      heads,
      kvHeads,
      dim,
      scale,
      qStride,
      keyStride,
      valueStride,
    };
    const items = rows * heads;
    // Uneven shares cut through groups of heads.
    const cut = Math.floor(items / 3);
    kernel({ ...common, capacity: seq, begin: 0, end: cut });
    kernel({ ...common, capacity: seq, begin: cut, end: items });
    expect([out.data.at(-1), scratch.data.at(-1)]).toEqual([42, 42]);
    const strides = { key: keyStride, value: valueStride };
    const wanted = reference(shape, q.data, qStride, keys.data, values.data, strides, scale, (b, t) =>
      range(t + 1, b * seq),
    );
    expectClose(out.data, wanted);
  });
});

describe("with a cache", () => {
  test.each(shapes)("$batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await host.compile("attention.ts", "attention", { cached: true });
    host.reset();
    const capacity = seq + 13;
    const stride = kvHeads * dim;
    const q = host.place(pseudoRandom(batch * seq * heads * dim, 2));
    const keys = host.place(pseudoRandom(3 * capacity * stride, 2, 5));
    const values = host.place(pseudoRandom(3 * capacity * stride, 1, 9));
    // What no query may see would show.
    const slotOf = (b: number) => 2 - b;
    const startOf = (b: number) => 5 * b;
    for (let b = 0; b < batch; b++) {
      const unseen = (slotOf(b) * capacity + startOf(b) + seq) * stride;
      keys.data.fill(Number.NaN, unseen, (slotOf(b) + 1) * capacity * stride);
      values.data.fill(Number.NaN, unseen, (slotOf(b) + 1) * capacity * stride);
    }
    const out = host.place(new Float32Array(batch * seq * heads * dim));
    const scale = 0.3;
    kernel({
      slots: host.place(Int32Array.from(range(batch), slotOf)),
      positions: host.place(Int32Array.from(range(batch), startOf)),
      scratch: host.place(new Float32Array(4 * Math.ceil(capacity / 4) * 4)),
      ...{ q, keys, values, out, seq, heads, kvHeads, dim, capacity, scale },
      ...{ qStride: heads * dim, keyStride: stride, valueStride: stride },
      ...{ begin: 0, end: batch * seq * heads },
    });
    const strides = { key: stride, value: stride };
    const wanted = reference(shape, q.data, heads * dim, keys.data, values.data, strides, scale, (b, t) =>
      range(startOf(b) + t + 1, slotOf(b) * capacity),
    );
    expectClose(out.data, wanted);
  });
});
