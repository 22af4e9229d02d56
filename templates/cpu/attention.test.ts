import { describe, expect, test } from "vitest";
import { KernelHost } from "../../test/support/kernel-host.ts";
import { attend, attentionShapes, expectAttention, range } from "../../test/support/kernels/attention.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";

const host = new KernelHost(64);

describe("without a cache", () => {
  test.each(attentionShapes)("$batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await host.compile("causal-attention.ts", "causalAttention");
    host.reset();
    const [qStride, keyStride, valueStride] = [heads * dim + 3, kvHeads * dim + 1, kvHeads * dim + 2];
    const rows = batch * seq;
    const q = host.place(pseudoRandom(rows * qStride, 2));
    const keys = host.place(pseudoRandom(rows * keyStride, 2, 5));
    const values = host.place(pseudoRandom(rows * valueStride, 1, 9));
    const out = host.place(new Float32Array(rows * heads * dim + 1).fill(42));
    const scratch = host.place(new Float32Array(8 * (dim + Math.ceil(seq / 4) * 4) + 1).fill(42));
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
    const items = batch * Math.ceil(seq / 8) * heads;
    const cut = Math.floor(items / 3);
    kernel({ ...common, begin: 0, end: cut });
    kernel({ ...common, begin: cut, end: items });
    expect([out.data.at(-1), scratch.data.at(-1)]).toEqual([42, 42]);
    const strides = { key: keyStride, value: valueStride };
    const wanted = attend(shape, q.data, qStride, keys.data, values.data, strides, scale, (b, t) =>
      range(t + 1, b * seq),
    );
    expectAttention(out.data, wanted);
  });
});

describe("with a cache", () => {
  test.each(attentionShapes)("$batch x $seq, $heads heads on $kvHeads, dim $dim", async (shape) => {
    const { batch, seq, heads, kvHeads, dim } = shape;
    const kernel = await host.compile("cached-attention.ts", "cachedAttention");
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
    const wanted = attend(shape, q.data, heads * dim, keys.data, values.data, strides, scale, (b, t) =>
      range(startOf(b) + t + 1, slotOf(b) * capacity),
    );
    expectAttention(out.data, wanted);
  });
});
