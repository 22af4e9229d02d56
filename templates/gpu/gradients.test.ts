import { describe, expect, test } from "vitest";
import { type Attributes, type OpName, ops } from "../../ir/ops/index.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { pseudoRandom } from "../../test/support/kernels/floats.ts";
import { gpuKernel } from "../../test/support/kernels/gpu-variants.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";

const floats = (dims: readonly number[], data: Float32Array) => tensor("f32", dims, data);

/** What the reference gives; its results have the types of the operands that `like` names. */
function reference<Op extends OpName>(
  op: Op,
  operands: readonly Tensor[],
  attributes: Attributes<Op>,
  like: readonly Tensor[],
): Tensor[] {
  const types = like.map(({ type }) => type);
  return ops[op].evaluate(operands, attributes as never, types) as Tensor[];
}

/** Rows of heads with a gap behind each row, and the same without gaps. */
function spaced(rows: number, width: number, gap: number, seed: number) {
  const dense = pseudoRandom(rows * width, 1, seed);
  const stride = width + gap;
  const memory = new Float32Array(rows * stride).fill(Number.NaN);
  for (let row = 0; row < rows; row++) {
    memory.set(dense.subarray(row * width, (row + 1) * width), row * stride);
  }
  return { dense, memory, stride };
}

const tile = { workgroupSize: 32, rowThreads: 4, edge: 1, subgroups: false };

describe("attention gradients in tiles of 4 queries and 8 keys", () => {
  test.each([
    { batch: 2, seq: 5, heads: 2, kvHeads: 2, dim: 7, scale: 0.4, within: 1e-5 },
    { batch: 1, seq: 19, heads: 6, kvHeads: 2, dim: 40, scale: 0.3, within: 1e-5 },
    // Scores of hundreds, whose rounding moves weights: most queries see one key.
    { batch: 1, seq: 24, heads: 3, kvHeads: 1, dim: 33, scale: 40, within: 1e-3 },
  ])("$batch x $seq, $heads heads on $kvHeads of $dim, scale $scale", async (shape) => {
    const { batch, seq, heads, kvHeads, dim, scale, within } = shape;
    const rows = batch * seq;
    const [q, g] = [spaced(rows, heads * dim, 3, 1), spaced(rows, heads * dim, 1, 5)];
    const [keys, values] = [spaced(rows, kvHeads * dim, 2, 9), spaced(rows, kvHeads * dim, 0, 13)];
    const statistics = new Float32Array(rows * heads * 4);
    const dq = new Float32Array(rows * heads * dim + 1).fill(42);
    const [dk, dv] = [0, 1].map(() => new Float32Array(rows * kvHeads * dim + 1).fill(42));
    const given = {
      ...{
        q: q.memory,
        keys: keys.memory,
        values: values.memory,
        g: g.memory,
        statistics,
        seq,
        heads,
        kvHeads,
      },
      ...{ dim, qStride: q.stride, keyStride: keys.stride, valueStride: values.stride, gStride: g.stride },
      scale: Math.fround(scale),
    };
    const queryTiles = Math.ceil((seq * heads) / kvHeads / 4);
    for (const [kernel, tiles, results] of [
      ["attentionStatistics", queryTiles, {}],
      ["attentionQueryGradient", queryTiles, { dq }],
      ["attentionKeyGradient", Math.ceil(seq / 8), { dk: dk!, dv: dv! }],
    ] as const) {
      const compiled = await gpuKernel("attention-gradient.ts", kernel, {
        ...tile,
        owned: Math.ceil(dim / 32),
      });
      await compiled({ ...given, ...results }, { workgroups: [tiles, batch * kvHeads] });
    }
    const queryDims = [batch, seq, heads, dim];
    const keyDims = [batch, seq, kvHeads, dim];
    const [ofQ, ofG] = [floats(queryDims, q.dense), floats(queryDims, g.dense)];
    const [ofK, ofV] = [floats(keyDims, keys.dense), floats(keyDims, values.dense)];
    const wanted = reference("attention_gradient", [ofQ, ofK, ofV, ofG], { scale }, [ofQ, ofK, ofV]);
    for (const [i, received] of [dq, dk!, dv!].entries()) {
      expect(received.at(-1)).toBe(42);
      expect(
        relativeL2(floats(wanted[i]!.type.dims as number[], received.subarray(0, -1)), wanted[i]!),
      ).toBeLessThan(within);
    }
  });
});

test("rows of an embedding's gradient are added in their order, and an unknown id spoils row 0", async () => {
  const [rows, vocabulary, width] = [9, 6, 40];
  const g = spaced(rows, width, 3, 1);
  // Sums that show the order of their terms.
  for (let row = 0; row < rows; row++)
    g.memory[row * g.stride] = 2 ** (25 - row * 7) * (row % 2 === 0 ? 1 : -1);
  const known = [4, 1, 4, 4, 2, 1, 4, 4, 2];
  const options = { workgroupSize: 32 };
  const link = await gpuKernel("embedding-gradient.ts", "embeddingGradientLinks", options);
  const add = await gpuKernel("embedding-gradient.ts", "embeddingGradient", options);
  for (const ids of [known, known.with(5, 6), known.with(3, -1)]) {
    const given = { g: g.memory, ids: Int32Array.from(ids), links: new Int32Array(2 * rows) };
    const out = new Float32Array(vocabulary * width);
    const sizes = { rows, vocabulary, width, gStride: g.stride };
    await link({ ...given, ...sizes }, { workgroups: 1 });
    await add({ ...given, ...sizes, out }, { workgroups: 4 });
    const wanted = new Float32Array(vocabulary * width);
    ids.forEach((id, row) => {
      for (let i = 0; i < width; i++) {
        const at = (known.includes(id) ? id : 0) * width + i;
        wanted[at]! += known.includes(id) ? g.memory[row * g.stride + i]! : Number.NaN;
      }
    });
    expect(out).toEqual(wanted);
  }
});

test("cross-entropy of rows that invocations go over more than once, and its gradient", async () => {
  const [rows, k] = [5, 150];
  const logits = spaced(rows, k, 2, 3);
  for (let i = 0; i < logits.dense.length; i++) logits.dense[i]! *= 20;
  for (let row = 0; row < rows; row++) {
    logits.memory.set(logits.dense.subarray(row * k, (row + 1) * k), row * logits.stride);
  }
  const targets = [0, 149, -100, 77, 150];
  const [loss, logSum] = [new Float32Array(rows), new Float32Array(rows)];
  const out = new Float32Array(rows * k);
  const g = Float32Array.from(targets, (_, row) => row - 1.5);
  const given = { logits: logits.memory, targets: Int32Array.from(targets), logSum };
  const sizes = { rows, k, stride: logits.stride, ignored: -100 };
  const ofRows = await gpuKernel("cross-entropy.ts", "crossEntropy", { workgroupSize: 32, subgroups: false });
  await ofRows({ ...given, ...sizes, loss }, { workgroups: 2 });
  const gradient = await gpuKernel("cross-entropy.ts", "crossEntropyGradient", { workgroupSize: 32 });
  await gradient({ ...given, ...sizes, g, out }, { workgroups: 2 });
  // The last target is none of the logits.
  expect(loss[4]).toBeNaN();
  const x = floats([rows, k], logits.dense);
  const known = tensor("i32", [rows], targets.with(4, -100));
  const perRow = floats([rows], g);
  const like = [perRow, floats([rows, 1], logSum)];
  const [losses, sums] = reference("cross_entropy", [x, known], { ignore_index: -100 }, like);
  expect(
    relativeL2(floats([4], loss.subarray(0, 4)), floats([4], (losses!.data as Float32Array).slice(0, 4))),
  ).toBeLessThan(1e-6);
  expect(relativeL2(like[1]!, sums!)).toBeLessThan(1e-6);
  const operands = [x, known, sums!, perRow];
  const [wanted] = reference("cross_entropy_gradient", operands, { ignore_index: -100 }, [x]);
  const firstFour = (data: Float32Array) => floats([4, k], data.slice(0, 4 * k));
  expect(relativeL2(firstFour(out), firstFour(wanted!.data as Float32Array))).toBeLessThan(1e-5);
});

test("gradients of a norm by rows and by weight, more rows than invocations", async () => {
  const [rows, k] = [21, 70];
  const [x, g] = [spaced(rows, k, 3, 1), spaced(rows, k, 1, 7)];
  const weight = pseudoRandom(k, 1, 4);
  const [dx, dw, roots] = [rows * k, k, rows].map((length) => new Float32Array(length));
  const eps = 1e-5;
  const given = {
    x: x.memory,
    g: g.memory,
    weight,
    roots: roots!,
    rows,
    k,
    xStride: x.stride,
    gStride: g.stride,
  };
  const byRow = await gpuKernel("rms-norm-gradient.ts", "rmsNormGradient", {
    workgroupSize: 32,
    subgroups: false,
  });
  await byRow({ ...given, dx: dx!, eps: Math.fround(eps) }, { workgroups: 4 });
  const byWeight = await gpuKernel("rms-norm-gradient.ts", "rmsNormWeightGradient", {
    workgroupSize: 32,
    columns: 8,
  });
  await byWeight({ ...given, dw: dw! }, { workgroups: 2 });
  const operands = [floats([rows, k], x.dense), floats([k], weight), floats([rows, k], g.dense)];
  const [ofX, ofW] = reference("rms_norm_gradient", operands, { eps }, operands.slice(0, 2));
  expect(relativeL2(floats([rows, k], dx!), ofX!)).toBeLessThan(1e-6);
  expect(relativeL2(floats([k], dw!), ofW!)).toBeLessThan(1e-6);
});
