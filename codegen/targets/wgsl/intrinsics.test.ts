import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GpuHost } from "../../../test/support/gpu-host.ts";
import { parseKernel } from "../../../test/support/kernel-text.ts";
import * as b from "../../kernel/build.ts";
import { type Intrinsic, intrinsics } from "../../kernel/intrinsic-table.ts";
import type { Expr } from "../../kernel/ir.ts";
import { renderFunction } from "../wasm/render.ts";
import { renderWgsl } from "./render.ts";

let host: GpuHost;
beforeAll(async () => {
  host = await GpuHost.open();
});
afterAll(() => host.close());

const arrays = { i32: Int32Array, u32: Uint32Array, f32: Float32Array };
type Word = keyof typeof arrays;
const isWordType = (type: string): type is Word => type in arrays;

const bitsOf = (x: number) => new Int32Array(Float32Array.of(x).buffer)[0]!;
const floatOf = (word: number) => new Float32Array(Int32Array.of(word).buffer)[0]!;
const saturate = (x: number) =>
  Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));
function nearestEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
const bytes = (word: number) => [...new Int8Array(Int32Array.of(word).buffer)];
const dot4 = (x: number, y: number) => bytes(x).reduce((sum, a, i) => sum + a * bytes(y)[i]!, 0);

/** What each intrinsic gives that an invocation computes from words alone, and how many ulp it may be off. */
const references: Record<
  string,
  { readonly value: (x: number, y: number) => number; readonly ulp?: number }
> = {
  "bits.f32ToI32": { value: bitsOf },
  "bits.f32ToU32": { value: (x) => bitsOf(x) >>> 0 },
  "bits.i32ToF32": { value: floatOf },
  "bits.u32ToF32": { value: floatOf },
  "convert.i32ToF32": { value: Math.fround, ulp: 1 },
  "convert.u32ToF32": { value: Math.fround, ulp: 1 },
  "convert.f32ToI32": { value: saturate },
  "convert.i32ToU32": { value: (x) => x >>> 0 },
  "convert.u32ToI32": { value: (x) => x | 0 },
  "math.sqrt": { value: (x) => Math.fround(Math.sqrt(x)), ulp: 3 },
  "math.abs": { value: Math.abs },
  "math.nearest": { value: nearestEven },
  "math.floor": { value: Math.floor },
  "math.min": { value: Math.min },
  "math.max": { value: Math.max },
  inverseSqrt: { value: (x) => Math.fround(1 / Math.sqrt(x)), ulp: 2 },
  dot4I8Packed: { value: dot4 },
};

const samples: Record<Word, readonly number[]> = {
  f32: [0, -0, 1.5, 2.5, -0.5, -1.5, 3.7, -3.7, 1e-20, 2e9, -2e9, 3e9, -3e9, 1e38, NaN, Infinity, -Infinity],
  i32: [0, 1, -1, 127, -128, 0x7fffffff, -0x80000000, 0x3f800000, 0x01020304, -0x7f7f7f80, 16777217],
  u32: [0, 1, 255, 0x80808080, 0x7f7f7f7f, 0xffffffff, 0x3f800000, 0x01ff80fe, 16777217, 4294967040],
};

/** out[i] = intrinsic(x[i], y[i]) for every pair of samples. */
function probe({ name, parameters, result, conversion }: Intrinsic) {
  const inputs = parameters.map((type, i) => b.buffer(`input${i}`, type as Word));
  const out = b.buffer("out", result as Word, "write");
  const args = inputs.map((input) => b.load(input, b.local("i", "i32")));
  const value: Expr = conversion ? b.convert(result as Word, args[0]!) : b.intrinsic(name, args);
  const loop = b.forRange("i", b.local("begin", "i32"), b.local("end", "i32"), [
    b.store(out, b.local("i", "i32"), value),
  ]);
  return b.kernel("probe", [...inputs, out, b.scalar("begin"), b.scalar("end")], [loop]);
}

/** Half a unit in the last place of x, times two. */
const ulpOf = (x: number) => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126))) - 23);

const all = [...intrinsics.values()];
const scalar = all.filter(
  ({ parameters, result, workgroup }) => !workgroup && [...parameters, result].every(isWordType),
);

describe("intrinsics on words", () => {
  test.each(scalar.map((row) => [row.name, row] as const))("%s", async (name, row) => {
    const reference = references[name];
    expect(reference, `no reference for ${name}`).toBeDefined();
    const types = row.parameters as readonly Word[];
    const pairs = samples[types[0]!].flatMap((x) =>
      types.length === 1 ? [[x]] : samples[types[1]!].map((y) => [x, y]),
    );
    const inputs = types.map((type, i) => arrays[type].from(pairs.map((pair) => pair[i]!)));
    // Without the feature the packed dot product is spelled out; nothing else may differ.
    for (const packedDot of [true, false]) {
      const run = await host.load(probe(row), { packedDot });
      const out = new arrays[row.result as Word](pairs.length);
      await run(
        { out, ...Object.fromEntries(inputs.map((x, i) => [`input${i}`, x])) },
        { range: pairs.length },
      );
      pairs.forEach((pair, i) => {
        const [x, y] = pair.map((value, j) => arrays[types[j]!].of(value)[0]!);
        const expected = reference!.value(x!, y ?? 0);
        const message = `${name}(${pair.join(", ")})`;
        // The sign of zero, and what becomes of NaN's bits, is the device's choice.
        if (Number.isNaN(expected)) expect(out[i], message).toBeNaN();
        else if (Number.isFinite(expected) && reference!.ulp !== undefined) {
          expect(Math.abs(out[i]! - expected), message).toBeLessThanOrEqual(reference!.ulp * ulpOf(expected));
        } else expect(out[i]! + 0, message).toBe(expected + 0);
      });
    }
  });

  test("components of u32x4", async () => {
    const kernel = await parseKernel(
      `export function kernel(options: Static<{ workgroupSize: number }>, x: Buffer<u32x4>, out: Buffer<u32x4>, n: i32): void {
        const i = workgroupId() * options.workgroupSize + localId();
        if (i < n) {
          const v = x[i]!;
          const sum = v.x + v.y + v.z + v.w;
          out[i] = select(i === 1, v, u32x4(component(v, 3), component(x[0]!, 1), v.z, sum));
        }
      }`,
      { workgroupSize: 4 },
    );
    const run = await host.load(kernel);
    const x = Uint32Array.from({ length: 12 }, (_, i) => i);
    const out = new Uint32Array(12);
    await run({ x, out, n: 3 }, { workgroups: 1 });
    expect([...out]).toEqual([3, 1, 2, 6, 4, 5, 6, 7, 11, 1, 10, 38]);
  });
});

/** Runs a kernel whose body assigns to `result`, of this type; gives the result of each invocation. */
async function invocations(
  body: string,
  { type = "i32" as Word, workgroupSize = 8, workgroups = [1, 1] as [number, number] } = {},
): Promise<number[]> {
  const kernel = await parseKernel(
    `export function kernel(options: Static<{ workgroupSize: number }>, out: Buffer<${type}>): void {
      const local = localId();
      const group = workgroupId() + workgroupIdY() * workgroupCount();
      let result: ${type} = 0;
      ${body}
      out[group * options.workgroupSize + local] = result;
    }`,
    { workgroupSize },
  );
  const run = await host.load(kernel);
  const out = new arrays[type](workgroupSize * workgroups[0] * workgroups[1]);
  await run({ out }, { workgroups });
  return [...out];
}

const seen = new Set<string>();
/** A test that also counts towards completeness. */
const intrinsic = (names: string, check: () => Promise<void>) => {
  for (const name of names.split(" ")) seen.add(name);
  test(names, check);
};

describe("intrinsics of workgroups", () => {
  intrinsic("workgroupId workgroupIdY workgroupCount", async () => {
    const grid = { workgroupSize: 1, workgroups: [3, 2] as [number, number] };
    expect(await invocations("result = workgroupId();", grid)).toEqual([0, 1, 2, 0, 1, 2]);
    expect(await invocations("result = workgroupIdY();", grid)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(await invocations("result = workgroupCount();", grid)).toEqual([3, 3, 3, 3, 3, 3]);
  });

  intrinsic("localId", async () => {
    expect(await invocations("result = localId();", { workgroups: [2, 1] })).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].concat([0, 1, 2, 3, 4, 5, 6, 7]),
    );
  });

  intrinsic("workgroupBarrier", async () => {
    const body = `const tile = shared<i32>(8);
      tile[local] = 10 * local;
      workgroupBarrier();
      result = tile[7 - local]!;`;
    expect(await invocations(body)).toEqual([70, 60, 50, 40, 30, 20, 10, 0]);
  });

  intrinsic("workgroupUniformLoad", async () => {
    // Whether the loop goes on is decided by shared memory: without the uniform load WGSL refuses the barrier.
    const body = `const left = shared<i32>(2);
      if (local === 5) left[1] = 3;
      while (workgroupUniformLoad(left, 1) > 0) {
        result += 1;
        workgroupBarrier();
        if (local === 2) left[1] = left[1]! - 1;
      }`;
    expect(await invocations(body)).toEqual(Array(8).fill(3));
    await expect(invocations(body.replace("workgroupUniformLoad(left, 1)", "left[1]!"))).rejects.toThrow(
      /workgroupBarrier.*uniform/s,
    );
  });

  intrinsic("subgroupSize subgroupId subgroupLane", async () => {
    const [size] = await invocations("result = subgroupSize();", { workgroupSize: 32 });
    expect(Math.log2(size!) % 1).toBe(0);
    const lanes = await invocations("result = subgroupLane();", { workgroupSize: 32 });
    expect(lanes).toEqual(Array.from({ length: 32 }, (_, i) => i % size!));
    const ids = await invocations("result = subgroupId();", { workgroupSize: 32 });
    expect(ids).toEqual(Array.from({ length: 32 }, (_, i) => Math.floor(i / size!)));
  });

  intrinsic("subgroupAdd subgroupMax subgroupMin subgroupShuffleXor subgroupBroadcast", async () => {
    const workgroupSize = 32;
    const [size] = await invocations("result = subgroupSize();", { workgroupSize });
    const cases = [
      { type: "i32", x: "local * local - 100", value: (i: number) => i * i - 100 },
      { type: "u32", x: "convert.i32ToU32(-local)", value: (i: number) => -i >>> 0 },
      { type: "f32", x: "convert.i32ToF32(local) * -0.5 - 1", value: (i: number) => i * -0.5 - 1 },
    ] as const;
    for (const { type, x, value } of cases) {
      const values = Array.from({ length: workgroupSize }, (_, i) => value(i));
      const subgroup = (i: number) => values.slice(i - (i % size!), i - (i % size!) + size!);
      const expectEach = async (call: string, expected: (i: number) => number) => {
        const received = await invocations(`const x = ${x};\nresult = ${call};`, { type, workgroupSize });
        expect(received, `${call} on ${type}`).toEqual(
          values.map((_, i) => arrays[type].of(expected(i))[0]!),
        );
      };
      await expectEach("subgroupAdd(x)", (i) => subgroup(i).reduce((a, c) => a + c));
      await expectEach("subgroupMax(x)", (i) => Math.max(...subgroup(i)));
      await expectEach("subgroupMin(x)", (i) => Math.min(...subgroup(i)));
      await expectEach("subgroupShuffleXor(x, 1)", (i) => values[i ^ 1]!);
      await expectEach("subgroupBroadcast(x, 2)", (i) => subgroup(i)[2]!);
    }
  });

  test("each has its test", () => {
    const names = all.filter(({ workgroup }) => workgroup).map(({ name }) => name);
    // WGSL has no products of matrices; templates/cuda has the test of CUDA's.
    expect([...seen, "subgroupMatrixMultiply"].sort()).toEqual(names.sort());
  });
});

describe("what a target lacks", () => {
  const rest = all.filter(
    ({ name, workgroup }) => !workgroup && !(name in references) && !["u32x4", "component"].includes(name),
  );
  test("vectors of WebAssembly and wide numbers are refused by name", () => {
    expect(rest.length).toBeGreaterThan(100);
    for (const { name, parameters, result, memory, immediates, conversion } of rest) {
      const buffer = b.buffer("x", "f32", "read-write");
      const args = parameters.map((type, i) => b.local(`x${i}`, type as "v128"));
      const value = conversion
        ? b.convert(result as "f64", args[0]!)
        : b.intrinsic(name, args, {
            immediates: Array<number>(immediates.count).fill(0),
            ...(memory === undefined ? {} : { buffer }),
          });
      const scalars = parameters.map((type, i) => b.scalar(`x${i}`, type as "v128"));
      const kernel = b.kernel("probe", [buffer, ...scalars], [b.effect(value)], { workgroupSize: 1 });
      expect(() => renderWgsl(kernel), name).toThrow(/UNSUPPORTED_OP/);
    }
  });

  test("the wasm target refuses what only workgroups have", async () => {
    const kernel = await parseKernel(
      "export function kernel(options: Static<{ workgroupSize: number }>): void { workgroupBarrier(); }",
      { workgroupSize: 4 },
    );
    expect(() => renderFunction(b.kernel("f", [b.buffer("x", "u32x4")], []))).toThrow(
      /u32x4.*UNSUPPORTED_OP/,
    );
    const dot = b.intrinsic("dot4I8Packed", [b.literal("u32", 1), b.literal("u32", 2)]);
    expect(() => renderFunction(b.kernel("f", [], [b.effect(dot)]))).toThrow(/dot4I8Packed.*UNSUPPORTED_OP/);
    expect(() => renderFunction(kernel)).toThrow(/workgroups.*UNSUPPORTED_OP/);
  });
});
