import { readFile } from "node:fs/promises";
import { fc, test } from "@fast-check/vitest";
import { beforeAll, describe, expect } from "vitest";
import type { WeightBuffer, WeightLayout } from "../../../codegen/schedule/plan.ts";
import { ternaryCodeBytes } from "../../../codegen/schedule/weights.ts";
import { makeNode, makeValue } from "../../../ir/builder.ts";
import type { Value } from "../../../ir/graph.ts";
import {
  bf16ToF32,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  sizeOf,
  type Tensor,
  toFloat32,
} from "../../../ir/tensor.ts";
import { dense, encoded, type ScaleGranularity, type TensorType } from "../../../ir/types.ts";
import { openCheckpoint } from "../../checkpoint/huggingface.ts";
import {
  type FloatType,
  type MemoryParameter,
  memorySource,
  type ParameterSource,
} from "../../checkpoint/source.ts";
import { evaluate } from "./fallback.ts";
import { MAX_INTERPRETED_ELEMENTS, Workspace, weightFiller } from "./index.ts";

let workspace: Workspace;
beforeAll(async () => {
  workspace = await Workspace.open();
});

const parameter = (path: string, type: TensorType): Value => makeValue(type, { kind: "parameter", path });
const absmean = (w: Value, scale: ScaleGranularity): Value =>
  makeNode("absmean_quantize", [w], { scale }).results[0]!;
const stacked = (...parts: Value[]): Value => makeNode("concat", parts, { axis: 0 }).results[0]!;
const cast = (x: Value, dtype: FloatType): Value => makeNode("cast", [x], { dtype }).results[0]!;

function sourceOf(parameters: Record<string, MemoryParameter>): ParameterSource {
  return memorySource(new Map(Object.entries(parameters)));
}

function groupOf(value: Value): number {
  const scale = value.type.encoding?.scale;
  return typeof scale === "object" ? scale.group : Number(value.type.dims[1]);
}

function layoutBytes(value: Value, layout: WeightLayout): number {
  const dims = value.type.dims as number[];
  const [n, k] = dims as [number, number];
  const rows = Math.ceil(n / 4) * 4;
  switch (layout) {
    case "dense":
      return sizeOf(dims) * (value.type.dtype === "f32" ? 4 : 2);
    case "ternary-codes":
      return ternaryCodeBytes(n, k, groupOf(value));
    case "ternary-scales":
      return rows * Math.ceil(k / groupOf(value)) * 4;
    case "int8-codes":
      return n * k + 16;
    case "int8-scales":
      return n * 4;
  }
}

/** The bytes of a value in a layout. */
async function realize(value: Value, layout: WeightLayout, source: ParameterSource): Promise<Uint8Array> {
  const bytes = layoutBytes(value, layout);
  const buffer: WeightBuffer = { name: "w", value, layout, dtype: value.type.dtype, offset: 0, bytes };
  const pieces: Uint8Array[] = [];
  const fill = await weightFiller(source, workspace);
  await fill(buffer, async (piece) => {
    pieces.push(piece.slice());
  });
  const all = new Uint8Array(Buffer.concat(pieces));
  expect(all.byteLength).toBe(bytes);
  return all;
}

/** Codes -1, 0, 1 by the definition of the layout, with padding checked to be weight 0. */
function unpack(bytes: Uint8Array, n: number, k: number, group: number): number[] {
  const groupBlocks = Math.ceil(group / 64);
  const blocks = Math.floor(k / group) * groupBlocks + Math.ceil((k % group) / 64);
  const codes = new Array<number>(n * k);
  let badPadding = 0;
  for (let row = 0; row < Math.ceil(n / 4) * 4; row++) {
    for (let block = 0; block < blocks; block++) {
      const address = ((row >> 2) * blocks + block) * 64 + (row & 3) * 16;
      const start = Math.floor(block / groupBlocks) * group;
      for (let i = 0; i < 64; i++) {
        const code = ((bytes[address + (i % 16)]! >> (2 * Math.floor(i / 16))) & 3) - 1;
        const within = (block % groupBlocks) * 64 + i;
        const column = start + within;
        if (row < n && within < group && column < k) codes[row * k + column] = code;
        else if (code !== 0) badPadding++;
      }
    }
  }
  expect(badPadding).toBe(0);
  return codes;
}

const f32s = (bytes: Uint8Array): number[] => [...new Float32Array(bytes.slice().buffer)];

/** Reproducible numbers in -2..2 with zeros and exact ties in between. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed | 1;
  return Float32Array.from({ length: count }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    const value = (state >> 8) / 2 ** 22;
    return state % 5 === 0 ? Math.round(value * 2) / 2 : value;
  });
}

function stored(values: Float32Array, dtype: FloatType, dims: readonly number[]): MemoryParameter {
  if (dtype === "f32") return { dims, data: values };
  const data = Uint16Array.from(values, dtype === "f16" ? f32ToF16 : f32ToBf16);
  return { dims, data, form: { kind: "dense", dtype } };
}

const dtypes = fc.constantFrom<FloatType>("f32", "f16", "bf16");
const size = fc.oneof(
  fc.constantFrom(1, 3, 4, 15, 16, 17, 63, 64, 65, 127, 128, 129),
  fc.integer({ min: 1, max: 200 }),
);
const granularity = fc.oneof(
  fc.constant<ScaleGranularity>("tensor"),
  fc.constant<ScaleGranularity>("row"),
  size.map((group): ScaleGranularity => ({ group })),
);

async function expectTernary(value: Value, source: ParameterSource): Promise<void> {
  const expected = await evaluate(value, source);
  const [n, k] = expected.type.dims as [number, number];
  expect(unpack(await realize(value, "ternary-codes", source), n, k, groupOf(value))).toEqual([
    ...expected.data,
  ]);
  const groups = Math.ceil(k / groupOf(value));
  const rows = Math.ceil(n / 4) * 4;
  const scales = f32s(await realize(value, "ternary-scales", source));
  const [first] = expected.scales!;
  const expectedScales = Array.from({ length: groups * rows }, (_, i) => {
    const group = Math.floor(i / 4) % groups;
    const row = 4 * Math.floor(i / (4 * groups)) + (i % 4);
    if (row >= n) return 0;
    return expected.scales!.length === 1 ? first : expected.scales![row * groups + group];
  });
  expect(scales).toEqual(expectedScales);
}

describe("ternary weights", () => {
  test.prop([size, size, granularity, dtypes, fc.nat()], { numRuns: 60 })(
    "of latent parameters are what the interpreter says",
    async (n, k, scale, dtype, seed) => {
      const source = sourceOf({ w: stored(numbers(n * k, seed), dtype, [n, k]) });
      const w = parameter("w", dense(dtype, [n, k]));
      await expectTernary(absmean(dtype === "f32" ? w : cast(w, "f32"), scale), source);
    },
  );

  test.prop([fc.array(size, { minLength: 1, maxLength: 4 }), size, granularity, fc.nat()], { numRuns: 30 })(
    "stack latent parts",
    async (heights, k, scale, seed) => {
      const parts = heights.map((n, i) => absmean(parameter(`w${i}`, dense("f32", [n, k])), scale));
      const source = sourceOf(
        Object.fromEntries(
          heights.map((n, i) => [`w${i}`, { dims: [n, k], data: numbers(n * k, seed + i) }]),
        ),
      );
      await expectTernary(parts.length === 1 ? parts[0]! : stacked(...parts), source);
    },
  );

  test.prop(
    [fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 3 }), size, fc.nat(), fc.boolean()],
    {
      numRuns: 40,
    },
  )("of packed parameters keep their codes, also stacked", async (quarters, k, seed, perRow) => {
    const parameters: Record<string, MemoryParameter> = {};
    const parts = quarters.map((quarter, i) => {
      const n = 4 * quarter;
      const data = Uint8Array.from(numbers(quarter * k, seed + i), (x) => {
        const trits = Math.floor((x + 2) * 20) % 81;
        return [1, 3, 9, 27].reduce((byte, p, bit) => byte | ((Math.floor(trits / p) % 3) << (2 * bit)), 0);
      });
      const scale = Float32Array.from({ length: perRow ? n : 1 }, (_, row) => 1 + i + row / 8);
      parameters[`w${i}`] = { dims: [n, k], data, form: { kind: "ternary-packed", scale, layout: "hf" } };
      return parameter(`w${i}`, encoded([n, k], { kind: "ternary", scale: perRow ? "row" : "tensor" }));
    });
    await expectTernary(parts.length === 1 ? parts[0]! : stacked(...parts), sourceOf(parameters));
  });

  test.prop([size, size, granularity, dtypes, fc.nat()], { numRuns: 40 })(
    "of floats that are ternary already keep every value",
    async (n, k, scale, dtype, seed) => {
      if (scale === "tensor") return;
      const group = scale === "row" ? k : scale.group;
      const values = numbers(n * k, seed).map((x, i) => {
        const column = i % k;
        const magnitude = 2 ** -(Math.floor(column / group) % 5) * (1 + (Math.floor(i / k) % 64) / 64);
        return (Math.abs(x) < 0.7 ? 0 : Math.sign(x)) * magnitude;
      });
      const form = { kind: "dense", dtype, ternary: scale } as const;
      const source = sourceOf({ w: { ...stored(values, dtype, [n, k]), form } });
      const value = parameter("w", encoded([n, k], { kind: "ternary", scale }));
      expect(toFloat32(await evaluate(value, source)).map((x) => x + 0)).toEqual(values.map((x) => x + 0));
      await expectTernary(value, source);
    },
  );

  test("a tensor of several pieces", async () => {
    const [n, k] = [1030, 1500];
    const source = sourceOf({ w: { dims: [n, k], data: numbers(n * k, 5) } });
    await expectTernary(absmean(parameter("w", dense("f32", [n, k])), "tensor"), source);
  });

  test("computed otherwise go through the interpreter", async () => {
    const w = parameter("w", dense("f32", [6, 70]));
    const doubled = makeNode("add", [w, w], {}).results[0]!;
    const source = sourceOf({ w: { dims: [6, 70], data: numbers(420, 3) } });
    for (const scale of ["tensor", "row", { group: 33 }] as const) {
      await expectTernary(absmean(doubled, scale), source);
    }
  });

  test("weight_scale is one number a row", async () => {
    const source = sourceOf({
      a: { dims: [3, 5], data: numbers(15, 1) },
      b: { dims: [2, 5], data: numbers(10, 2) },
    });
    const a = absmean(parameter("a", dense("f32", [3, 5])), "tensor");
    const b = absmean(parameter("b", dense("f32", [2, 5])), "row");
    const value = makeNode("weight_scale", [stacked(a, b)], {}).results[0]!;
    const expected = await evaluate(value, source);
    expect(f32s(await realize(value, "dense", source))).toEqual([...expected.data]);
  });
});

describe("int8 weights", () => {
  test.prop([size, size, dtypes, fc.nat()], { numRuns: 40 })(
    "are what the interpreter says",
    async (n, k, dtype, seed) => {
      const values = numbers(n * k, seed);
      values.fill(0, 0, k);
      if (n > 1) values.fill(1e-44, k, 2 * k);
      const source = sourceOf({ w: stored(values, dtype, [n, k]) });
      const value = makeNode("quantize_int8", [parameter("w", dense(dtype, [n, k]))], {}).results[0]!;
      const expected = await evaluate(value, source);
      const codes = await realize(value, "int8-codes", source);
      expect([...new Int8Array(codes.buffer, 0, n * k)]).toEqual([...expected.data]);
      expect([...codes.subarray(n * k)]).toEqual(Array(16).fill(0));
      expect(f32s(await realize(value, "int8-scales", source))).toEqual([...expected.scales!]);
    },
  );

  test("stacked, and computed", async () => {
    const source = sourceOf({
      a: { dims: [3, 5], data: numbers(15, 1) },
      b: { dims: [2, 5], data: numbers(10, 2) },
    });
    const a = parameter("a", dense("f32", [3, 5]));
    const b = parameter("b", dense("f32", [2, 5]));
    const int8 = (w: Value) => makeNode("quantize_int8", [w], {}).results[0]!;
    for (const value of [stacked(int8(a), int8(b)), int8(makeNode("neg", [a], {}).results[0]!)]) {
      const expected = await evaluate(value, source);
      const codes = await realize(value, "int8-codes", source);
      expect([...new Int8Array(codes.buffer, 0, expected.data.length)]).toEqual([...expected.data]);
      expect(f32s(await realize(value, "int8-scales", source))).toEqual([...expected.scales!]);
    }
  });
});

describe("dense weights", () => {
  const bytesOf = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

  test.prop([fc.integer({ min: 1, max: 300 }), dtypes, dtypes, fc.nat()], { numRuns: 60 })(
    "are cast with one rounding",
    async (count, from, to, seed) => {
      const values = numbers(count, seed);
      for (const [i, value] of [6e-8, -3e-6, 60000, 1e-44, -0].entries()) if (i < count) values[i] = value;
      const source = sourceOf({ w: stored(values, from, [count]) });
      const w = parameter("w", dense(from, [count]));
      const value = from === to ? w : cast(w, to);
      expect(await realize(value, "dense", source)).toEqual(bytesOf(await evaluate(value, source)));
    },
  );

  test("every f16 and bf16 widens exactly, and rounds back to itself", async () => {
    for (const [dtype, widen, bits] of [
      ["f16", f16ToF32, 0x7c00],
      ["bf16", bf16ToF32, 0x7f80],
    ] as const) {
      const data = Uint16Array.from({ length: bits * 2 }, (_, i) => (i < bits ? i : 0x8000 | (i - bits)));
      const source = sourceOf({ w: { dims: [data.length], data, form: { kind: "dense", dtype } } });
      const wide = cast(parameter("w", dense(dtype, [data.length])), "f32");
      const values = await realize(wide, "dense", source);
      expect(f32s(values)).toEqual(Array.from(data, widen));
      const again = sourceOf({ w: { dims: [data.length], data: new Float32Array(values.buffer) } });
      const narrow = cast(parameter("w", dense("f32", [data.length])), dtype);
      expect(new Uint16Array((await realize(narrow, "dense", again)).buffer)).toEqual(data);
    }
  });

  test("rounding twice is left to the interpreter", async () => {
    const source = sourceOf({ w: { dims: [500], data: numbers(500, 9) } });
    const value = cast(cast(cast(parameter("w", dense("f32", [500])), "bf16"), "f32"), "f16");
    expect(await realize(value, "dense", source)).toEqual(bytesOf(await evaluate(value, source)));
  });

  test("several pieces, stacked parts, reshaped parts", async () => {
    const count = 1_200_003;
    const source = sourceOf({
      w: { dims: [count], data: numbers(count, 4) },
      v: stored(numbers(8, 1), "bf16", [4, 2]),
    });
    const v = makeNode("reshape", [cast(parameter("v", dense("bf16", [4, 2])), "f32")], { dims: [8] })
      .results[0]!;
    const value = stacked(parameter("w", dense("f32", [count])), v);
    expect(
      Buffer.compare(await realize(value, "dense", source), bytesOf(await evaluate(value, source))),
    ).toBe(0);
  });

  test("RoPE tables and other expressions are interpreted", async () => {
    const source = sourceOf({ w: { dims: [4], data: Float32Array.of(1, 2, 3, 4) } });
    const table = makeNode("rope_table", [], { theta: 10000, dim: 8, length: 16, fn: "sin" }).results[0]!;
    expect(await realize(table, "dense", source)).toEqual(bytesOf(await evaluate(table, source)));
    const w = parameter("w", dense("f32", [4]));
    expect(f32s(await realize(makeNode("mul", [w, w], {}).results[0]!, "dense", source))).toEqual([
      1, 4, 9, 16,
    ]);
  });
});

describe("refused", () => {
  const ternary = absmean(parameter("w", dense("f32", [40, 30])), "row");
  const int8 = makeNode("quantize_int8", [parameter("w", dense("f32", [40, 30]))], {}).results[0]!;

  test.each<[string, Value, WeightLayout]>([
    ["ternary", ternary, "ternary-codes"],
    ["int8", int8, "int8-codes"],
    ["dense", parameter("w", dense("f32", [40, 30])), "dense"],
    ["cast", cast(parameter("w", dense("f32", [40, 30])), "f16"), "dense"],
    ["interpreted", makeNode("neg", [parameter("w", dense("f32", [40, 30]))], {}).results[0]!, "dense"],
  ])("NaN and Inf in %s weights, by name and place", async (_, value, layout) => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const data = numbers(1200, 1);
      data[37 * 30 + 11] = bad;
      const error = await realize(value, layout, sourceOf({ w: { dims: [40, 30], data } })).catch((e) => e);
      expect(error).toMatchObject({ code: "INVALID_WEIGHTS" });
      expect(error.message).toContain(`${bad} at index 1121`);
      expect(error.message).toContain('tensor "w", row 37, column 11');
    }
  });

  test.prop([fc.nat(39), fc.nat(69)], { numRuns: 30 })("code 3, by row and column", async (row, column) => {
    const data = new Uint8Array(700).fill(0b01_10_00_01);
    data[(row % 10) * 70 + column]! |= 3 << (2 * Math.floor(row / 10));
    const form = { kind: "ternary-packed", scale: Float32Array.of(1), layout: "hf" } as const;
    const value = parameter("w", encoded([40, 70], { kind: "ternary", scale: "tensor" }));
    const error = await realize(
      value,
      "ternary-codes",
      sourceOf({ w: { dims: [40, 70], data, form } }),
    ).catch((e) => e);
    expect(error).toMatchObject({ code: "INVALID_TENSOR" });
    expect(error.message).toContain(`tensor "w", row ${row}, column ${column}`);
  });

  test("values that f16 cannot hold", async () => {
    const source = sourceOf({ w: { dims: [3], data: Float32Array.of(1, -70000, 3) } });
    const error = await realize(cast(parameter("w", dense("f32", [3])), "f16"), "dense", source).catch(
      (e) => e,
    );
    expect(error).toMatchObject({ code: "INVALID_WEIGHTS" });
    expect(error.message).toContain("-70000 at index 1");
  });

  test("a large value without a streamed form", async () => {
    const w = parameter("w", dense("f32", [MAX_INTERPRETED_ELEMENTS]));
    const value = makeNode("neg", [w], {}).results[0]!;
    await expect(realize(value, "dense", sourceOf({}))).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  test("a graph of another checkpoint, and a parameter that is not there", async () => {
    const source = sourceOf({ w: { dims: [2], data: Float32Array.of(1, 2) } });
    await expect(realize(parameter("w", dense("f32", [3])), "dense", source)).rejects.toMatchObject({
      code: "INVALID_GRAPH",
    });
    await expect(realize(parameter("w", dense("f16", [2])), "dense", source)).rejects.toMatchObject({
      code: "INVALID_GRAPH",
    });
    await expect(realize(parameter("x", dense("f32", [2])), "dense", source)).rejects.toMatchObject({
      code: "MISSING_TENSOR",
    });
  });

  test("a failing writer leaves no read behind", async () => {
    const [n, k] = [1000, 2000];
    const source = sourceOf({ w: { dims: [n, k], data: numbers(n * k, 5) } });
    const fill = await weightFiller(source, workspace);
    const value = parameter("w", dense("f32", [n, k]));
    const buffer = { name: "w", value, layout: "dense", dtype: "f32", offset: 0, bytes: n * k * 4 } as const;
    await expect(fill(buffer, () => Promise.reject(new Error("disk full")))).rejects.toThrow("disk full");
  });
});

describe("goldens", () => {
  // biome-ignore lint/suspicious/noExplicitAny: the file's own shape
  let golden: any;
  beforeAll(async () => {
    golden = JSON.parse(
      await readFile(new URL("../../../test/goldens/numerics_golden.json", import.meta.url), "utf8"),
    );
  });

  const quantized = async (rows: number[][], scale: ScaleGranularity) => {
    const dims = [rows.length, rows[0]!.length] as const;
    const source = sourceOf({ w: { dims, data: Float32Array.from(rows.flat()) } });
    const value = absmean(parameter("w", dense("f32", dims)), scale);
    const codes = unpack(await realize(value, "ternary-codes", source), ...dims, groupOf(value));
    return { codes, scales: f32s(await realize(value, "ternary-scales", source)) };
  };
  const fromBits = (bits: number[]) => [...new Float32Array(Uint32Array.from(bits).buffer)];
  const toBits = (values: number[]) => [...new Uint32Array(Float32Array.from(values).buffer)];

  test("worked examples and ties", async () => {
    const { W, codes, alpha_bits } = golden.weight_quant_hfblog;
    const blog = await quantized(W, "tensor");
    expect(blog.codes).toEqual(codes.flat());
    expect(toBits(blog.scales.slice(0, 3))).toEqual([alpha_bits, alpha_bits, alpha_bits]);
    const ties = await quantized(golden.weight_ties.W, "tensor");
    expect(ties.codes).toEqual(golden.weight_ties.codes.flat());
    expect(ties.scales[0]).toBe(golden.weight_ties.alpha);
  });

  test("per tensor and in groups with a tail", async () => {
    const W = golden.linear.W_bits.map(fromBits);
    const whole = await quantized(W, "tensor");
    expect(whole.codes).toEqual(golden.linear.codes.flat());
    expect(toBits(whole.scales.slice(0, 1))).toEqual([golden.linear.alpha_bits]);
    const grouped = await quantized(W, { group: 5 });
    expect(grouped.codes).toEqual(golden.linear_group5_tail2.codes.flat());
    const rows = golden.linear_group5_tail2.alpha_bits as number[][];
    for (const [row, alphas] of rows.entries()) {
      const scale = (group: number) => grouped.scales[(row >> 2) * 12 + group * 4 + (row & 3)]!;
      expect(toBits([0, 1, 2].map(scale))).toEqual(alphas);
    }
  });

  test("transformers' packed bytes", async () => {
    const rows = golden.linear.packed_hf as number[][];
    const k = rows[0]!.length;
    const dims = [4 * rows.length, k];
    const form = { kind: "ternary-packed", scale: Float32Array.of(1), layout: "hf" } as const;
    const source = sourceOf({ w: { dims, data: Uint8Array.from(rows.flat()), form } });
    const value = parameter("w", encoded(dims, { kind: "ternary", scale: "tensor" }));
    const codes = unpack(await realize(value, "ternary-codes", source), dims[0]!, k, k);
    // The reference packed 10 rows; the two it made up to fill the last bit pair are not rows of the weight.
    expect(codes.slice(0, 10 * k)).toEqual(golden.linear.codes.flat());
  });

  test("packing the latent checkpoint gives the packed one", async () => {
    const latent = await openCheckpoint(
      new URL("../../../test/goldens/bitnet-tiny-latent", import.meta.url).pathname,
    );
    const packed = await openCheckpoint(
      new URL("../../../examples/generate/bitnet-tiny", import.meta.url).pathname,
    );
    let compared = 0;
    for (const path of packed.source.paths()) {
      const { dims, form } = packed.source.info(path)!;
      if (form.kind !== "ternary-packed") continue;
      const ours = absmean(parameter(path, dense("f32", dims)), "tensor");
      const theirs = parameter(path, encoded(dims, { kind: "ternary", scale: "tensor" }));
      for (const layout of ["ternary-codes", "ternary-scales"] as const) {
        const [a, b] = [
          await realize(ours, layout, latent.source),
          await realize(theirs, layout, packed.source),
        ];
        expect(Buffer.compare(a, b), `${path} ${layout}`).toBe(0);
      }
      compared++;
    }
    expect(compared).toBe(28);
    await Promise.all([latent.source.close(), packed.source.close()]);
  });
});
