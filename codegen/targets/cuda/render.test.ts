import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missingPrograms } from "../../../test/support/cuda/host-library.ts";
import { CudaKernelHost } from "../../../test/support/cuda/kernel-host.ts";
import { parseKernel } from "../../../test/support/kernel-text.ts";
import {
  constantVariables,
  randomExpressions,
  randomVariables,
  type Sample,
  type Variables,
} from "../../../test/support/random-expression.ts";
import * as b from "../../kernel/build.ts";
import type { KernelFunction } from "../../kernel/ir.ts";
import { renderCuda } from "./render.ts";

let host: CudaKernelHost;
const missing = missingPrograms("g++");
const withCompiler = missing ?? "through g++";
beforeAll(async () => {
  if (missing === undefined) host = await CudaKernelHost.open();
});
afterAll(() => host?.close());

const options = "options: Static<{ workgroupSize: number }>";

/** A kernel of blocks of 64 threads with this body, over `out: Buffer<i32>` and a scalar n. */
const kernelOf = (body: string) =>
  parseKernel(`export function kernel(${options}, out: Buffer<i32>, n: i32): void { ${body} }`, {
    workgroupSize: 64,
  });

test("a kernel reads like what it was made of", async () => {
  const text = `/** Sums of rows. The rest is not shown. */
    export function kernel(${options}, rows: Buffer<f32>, out: Buffer<f32>, columns: i32, unused: i32): void {
      const row = workgroupId();
      let sum: f32 = 0;
      for (let i = localId(); i < columns; i += options.workgroupSize) sum += rows[row * columns + i]! * 2;
      const total = subgroupAdd(sum);
      if (subgroupLane() === 0) out[row * 2 + subgroupId()] = total / convert.i32ToF32(-columns);
    }`;
  const { text: rendered, ...rest } = renderCuda(await parseKernel(text, { workgroupSize: 64 }));
  expect(rest).toEqual({
    entryPoint: "kernel",
    blockSize: 64,
    sharedBytes: 0,
    parameters: [
      { kind: "buffer", parameter: "rows", element: "f32" },
      { kind: "buffer", parameter: "out", element: "f32" },
      { kind: "scalar", parameter: "columns", type: "i32" },
    ],
  });
  expect(`\n${rendered}`).toMatchInlineSnapshot(`
    "
    using i32 = int;
    using u32 = unsigned int;

    namespace kernel {

    // The sum over a warp, in every lane the same.
    template <typename T>
    static __device__ __forceinline__ T warp_add(T x) {
      for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
      return x;
    }

    // Sums of rows.
    extern "C" __global__ void __launch_bounds__(64) kernel(
      const float* __restrict__ rows,
      float* __restrict__ out,
      const i32 columns
    ) {
      const i32 row = blockIdx.x;
      float sum = 0.0f;
      for (i32 i = threadIdx.x; i < columns; i += 64u) {
        sum += __fmul_rn(rows[u32(row) * columns + i], 2.0f);
      }
      const float total = warp_add(sum);
      if (i32(threadIdx.x % 32u) == 0) {
        out[row * 2u + threadIdx.x / 32u] = __fdiv_rn(total, float(i32(0u - columns)));
      }
    }

    }  // namespace kernel
    "
  `);
});

test.skipIf(missing !== undefined)(`an item of a range is a thread's (${withCompiler})`, async () => {
  const x = b.buffer("x", "u8");
  const out = b.buffer("out", "i8", "write");
  const at = b.local("i", "i32");
  const loop = b.forRange("i", b.local("begin", "i32"), b.local("end", "i32"), [
    b.store(out, at, b.sub(b.load(x, at), b.i32(200))),
  ]);
  const run = await host.load(b.kernel("shift", [x, out, b.scalar("begin"), b.scalar("end")], [loop]));
  const result = new Int8Array(1001);
  await run({ x: Uint8Array.from({ length: 1000 }, (_, i) => i), out: result }, { range: 1000 });
  const expected = Int8Array.from({ length: 1001 }, (_, i) => (i < 1000 ? (i & 255) - 200 : 0));
  expect(result).toEqual(expected);
});

const arrays = { i32: Int32Array, u32: Uint32Array, f32: Float32Array };

/** The value, or undefined where it is not exact in f32. */
function exactValue(sample: Sample, variables: Variables): number | undefined {
  try {
    return sample.value(variables);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

describe.skipIf(missing !== undefined)(
  `random expressions compute what JavaScript does, whatever overflows (${withCompiler})`,
  () => {
    const exactFloats = { exactFloats: true };
    test.each(["i32", "u32", "f32"] as const)("%s", async (type) => {
      const samples = fc.array(randomExpressions(exactFloats)[type], { minLength: 1, maxLength: 30 });
      const { seed = 1 } = fc.readConfigureGlobal() ?? {};
      const cases = fc.sample(fc.tuple(samples, randomVariables(exactFloats)), { seed, numRuns: 12 });
      const kernels: Promise<KernelFunction>[] = [];
      for (const [expressions, variables] of cases) {
        const stores = expressions.map(({ text }, i) => `out[${i}] = ${text};`).join("\n");
        // As run-time values, and again as constants that fold.
        for (const text of [
          `export function kernel(${options}, out: Buffer<${type}>, a: i32, b: i32, u: u32, x: f32, y: f32) {\n${stores}\n}`,
          `export function kernel(${options}, out: Buffer<${type}>) {\n${constantVariables(variables)}\n${stores}\n}`,
        ]) {
          kernels.push(parseKernel(text, { workgroupSize: 1 }));
        }
      }
      const runs = await host.loadAll(await Promise.all(kernels));
      for (const [i, [expressions, variables]] of cases.entries()) {
        const expected = expressions.map((sample) => exactValue(sample, variables));
        for (const run of runs.slice(2 * i, 2 * i + 2)) {
          const out = new arrays[type](expressions.length);
          await run({ out, ...variables }, { workgroups: 1 });
          expressions.forEach(({ text }, at) => {
            if (expected[at] === undefined) return;
            expect(out[at]! + 0, `${text} with ${Object.entries(variables).join()}`).toBe(expected[at] + 0);
          });
        }
      }
    });
  },
);

describe.skipIf(missing !== undefined)(`what threads do together (${withCompiler})`, () => {
  test("sums, extremes and shuffles over warps", async () => {
    const run = await host.load(
      await kernelOf(`
        const lane = subgroupLane();
        out[localId()] = subgroupAdd(lane * n) + subgroupSize();
        out[64 + localId()] = subgroupMax(lane ^ subgroupId()) - subgroupMin(lane - 5);
        out[128 + localId()] = subgroupShuffleXor(localId(), 3);
        out[192 + localId()] = subgroupBroadcast(localId(), 7);`),
    );
    const out = new Int32Array(256);
    // 496 * n overflows.
    await run({ out, n: 0x7000000 }, { workgroups: 1 });
    for (let i = 0; i < 64; i++) {
      const found = [0, 64, 128, 192].map((start) => out[start + i]);
      expect(found).toEqual([(Math.imul(496, 0x7000000) + 32) | 0, 36, i ^ 3, i < 32 ? 7 : 39]);
    }
  });

  test("shared memory is seen after a barrier, by all alike", async () => {
    const run = await host.load(
      await kernelOf(`
        const values = shared<i32>(64);
        values[localId()] = localId() * n;
        workgroupBarrier();
        out[localId()] = values[63 - localId()]! + workgroupUniformLoad(values, 2);`),
    );
    const out = new Int32Array(64);
    await run({ out, n: 3 }, { workgroups: 1 });
    expect([...out]).toEqual(Array.from({ length: 64 }, (_, i) => 3 * (63 - i) + 6));
  });

  test.each([
    [
      "a barrier that one thread leaves out",
      "if (localId() !== 5) workgroupBarrier();",
      /thread 5 has ended/,
    ],
    [
      "two barriers at once",
      "if (localId() > 9) { workgroupBarrier(); } else { workgroupBarrier(); }",
      /waits at/,
    ],
    ["a sum without one lane", "if (localId() !== 40) out[localId()] = subgroupAdd(n);", /waits in a warp/],
    [
      "reading what another thread has just written",
      "const values = shared<i32>(64); values[localId()] = n; out[localId()] = values[localId() ^ 1]!;",
      /race: thread 1 writes element 1 of shared memory that another one read/,
    ],
    [
      "ordering shared memory by a warp's sum",
      "const values = shared<i32>(64); values[localId()] = subgroupAdd(n); out[localId()] = values[63 - localId()]!;",
      /race: thread \d+ writes element/,
    ],
    [
      "writing in the next round what other threads still read",
      `const values = shared<i32>(64);
       for (let round: i32 = 0; round < 2; round++) {
         values[localId()] = n;
         workgroupBarrier();
         out[localId()] = values[63 - localId()]!;
       }`,
      /race: thread \d+ (reads|writes) element/,
    ],
    [
      "an element that shared memory does not have",
      "const values = shared<i32>(64); values[localId() + n] = n; workgroupBarrier(); out[0] = values[1]!;",
      /thread 63 is at element 64 of 64/,
    ],
  ])("%s is an error", async (_, body, message) => {
    const run = await host.load(await kernelOf(body));
    await expect(run({ out: new Int32Array(64), n: 1 }, { workgroups: 1 })).rejects.toThrow(message);
  });

  test("memory that is not the kernel's ends the process, and the next one runs", async () => {
    const run = await host.load(await kernelOf("out[n * localId()] = 1;"));
    const out = new Int32Array(64);
    await expect(run({ out, n: 1 << 20 }, { workgroups: 1 })).rejects.toThrow(/in kernel kernel_/);
    await run({ out, n: 1 }, { workgroups: 1 });
    expect([...out]).toEqual(new Array(64).fill(1));
  });
});

describe("what cannot be rendered", () => {
  test.each([
    ["vectors of the CPU", "const zero = v128.load(out, n); v128.store(out, 0, zero);", 64, /v128/],
    ["parts of warps", "out[0] = subgroupAdd(n);", 48, /48 invocations[\s\S]*multiple of 32/],
    ["a select of sums over warps", "out[0] = select(n > 1, subgroupAdd(n), 2);", 64, /select of effects/],
  ])("%s", async (_, body, workgroupSize, message) => {
    const text = `export function kernel(${options}, out: Buffer<i32>, n: i32): void { ${body} }`;
    const kernel = await parseKernel(text, { workgroupSize });
    expect(() => renderCuda(kernel)).toThrow(message);
  });
});
