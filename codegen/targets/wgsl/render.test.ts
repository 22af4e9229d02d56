import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GpuHost } from "../../../test/support/gpu-host.ts";
import { parseKernel } from "../../../test/support/kernel-text.ts";
import * as b from "../../kernel/build.ts";
import { storageBytes } from "../../kernel/ir.ts";
import { renderWgsl, type WgslOptions } from "./render.ts";

let host: GpuHost;
beforeAll(async () => {
  host = await GpuHost.open();
});
afterAll(() => host.close());

const dotRows = `/** Dot products of rows with one vector of signed bytes. The rest is not shown. */
export function kernel(
  options: Static<{ workgroupSize: number; subgroups: boolean; scale: (acc: i32, row: i32) => f32 }>,
  rows: Buffer<u32x4>, x: Buffer<u32x4>, scales: Buffer<f32>, out: Buffer<f32>, words: i32, bias: f32,
): void {
  const partial = shared<i32>(options.workgroupSize);
  const row = workgroupId();
  const local = localId();
  let acc: i32 = 0;
  for (let i = local; i < words; i += options.workgroupSize) {
    const weights = rows[row * words + i]!;
    const values = x[i]!;
    for (const w of unroll(4)) acc += dot4I8Packed(component(weights, w), component(values, w));
  }
  if (options.subgroups) {
    acc = subgroupAdd(acc);
    if (subgroupLane() === 0) partial[subgroupId()] = acc;
    workgroupBarrier();
    if (local === 0) {
      let total: i32 = 0;
      for (let i = 0; i < options.workgroupSize / subgroupSize(); i++) total += partial[i]!;
      out[row] = convert.i32ToF32(total) * scales[row]! + bias;
    }
  } else {
    partial[local] = acc;
    for (const step of unroll(Math.log2(options.workgroupSize))) {
      const distance = options.workgroupSize / 2 ** (step + 1);
      workgroupBarrier();
      if (local < distance) partial[local] += partial[local + distance]!;
    }
    if (local === 0) out[row] = convert.i32ToF32(partial[0]!) * scales[row]! + bias;
  }
}`;

describe("a kernel for workgroups", () => {
  test("reads like what it was made of", async () => {
    const kernel = await parseKernel(dotRows, { workgroupSize: 64, subgroups: true });
    expect(`\n${renderWgsl(kernel).text}`).toMatchInlineSnapshot(`
      "
      enable subgroups;
      requires packed_4x8_integer_dot_product;

      struct Scalars {
        words: i32,
        bias: f32,
      }

      @group(0) @binding(0) var<storage, read> rows: array<vec4u>;
      @group(0) @binding(1) var<storage, read> x: array<vec4u>;
      @group(0) @binding(2) var<storage, read> scales: array<f32>;
      @group(0) @binding(3) var<storage, read_write> out: array<f32>;
      @group(0) @binding(4) var<uniform> scalars: Scalars;
      var<workgroup> partial: array<i32, 64>;

      // Dot products of rows with one vector of signed bytes.
      @compute @workgroup_size(64)
      fn kernel(
        @builtin(workgroup_id) workgroup_id: vec3u,
        @builtin(local_invocation_index) local_index: u32,
        @builtin(subgroup_invocation_id) subgroup_lane: u32,
        @builtin(subgroup_size) subgroup_size: u32,
      ) {
        let words = scalars.words;
        let bias = scalars.bias;
        let row = i32(workgroup_id.x);
        let local = i32(local_index);
        var acc = 0;
        for (var i = local; i < words; i += 64) {
          let weights = rows[row * words + i];
          let values = x[i];
          acc += dot4I8Packed(weights.x, values.x);
          acc += dot4I8Packed(weights.y, values.y);
          acc += dot4I8Packed(weights.z, values.z);
          acc += dot4I8Packed(weights.w, values.w);
        }
        acc = subgroupAdd(acc);
        if (i32(subgroup_lane) == 0) {
          partial[i32(local_index / subgroup_size)] = acc;
        }
        workgroupBarrier();
        if (local == 0) {
          var total = 0;
          for (var i_1 = 0; i_1 < 64 / i32(subgroup_size); i_1++) {
            total += partial[i_1];
          }
          out[row] = f32(total) * scales[row] + bias;
        }
      }
      "
    `);
  });

  test("reads the same without subgroups and packed dot products", async () => {
    const kernel = await parseKernel(dotRows, { workgroupSize: 4, subgroups: false });
    const { text, usesPackedDot, usesSubgroups } = renderWgsl(kernel, { packedDot: false });
    expect([usesPackedDot, usesSubgroups]).toEqual([false, false]);
    expect(`\n${text}`).toMatchInlineSnapshot(`
      "
      struct Scalars {
        words: i32,
        bias: f32,
      }

      @group(0) @binding(0) var<storage, read> rows: array<vec4u>;
      @group(0) @binding(1) var<storage, read> x: array<vec4u>;
      @group(0) @binding(2) var<storage, read> scales: array<f32>;
      @group(0) @binding(3) var<storage, read_write> out: array<f32>;
      @group(0) @binding(4) var<uniform> scalars: Scalars;
      var<workgroup> partial: array<i32, 4>;

      // dot4I8Packed on a device without it: four products of signed bytes, summed.
      fn dot4_i8(a: u32, b: u32) -> i32 {
        let left_aligned = vec4u(24u, 16u, 8u, 0u);
        let x = bitcast<vec4i>(vec4u(a) << left_aligned) >> vec4u(24u);
        let y = bitcast<vec4i>(vec4u(b) << left_aligned) >> vec4u(24u);
        return dot(x, y);
      }

      // Dot products of rows with one vector of signed bytes.
      @compute @workgroup_size(4)
      fn kernel(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(local_invocation_index) local_index: u32) {
        let words = scalars.words;
        let bias = scalars.bias;
        let row = i32(workgroup_id.x);
        let local = i32(local_index);
        var acc = 0;
        for (var i = local; i < words; i += 4) {
          let weights = rows[row * words + i];
          let values = x[i];
          acc += dot4_i8(weights.x, values.x);
          acc += dot4_i8(weights.y, values.y);
          acc += dot4_i8(weights.z, values.z);
          acc += dot4_i8(weights.w, values.w);
        }
        partial[local] = acc;
        workgroupBarrier();
        if (local < 2) {
          partial[local] = partial[local] + partial[local + 2];
        }
        workgroupBarrier();
        if (local < 1) {
          partial[local] = partial[local] + partial[local + 1];
        }
        if (local == 0) {
          out[row] = f32(partial[0]) * scales[row] + bias;
        }
      }
      "
    `);
  });

  test.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])("computes with subgroups: %s, packed dot products: %s", async (subgroups, packedDot) => {
    const kernel = await parseKernel(dotRows, { workgroupSize: 16, subgroups });
    const run = await host.load(kernel, { packedDot });
    expect(run.module.usesSubgroups).toBe(subgroups);
    expect(run.module.usesPackedDot).toBe(packedDot);
    const [rows, words] = [3, 37];
    const weights = Int8Array.from({ length: rows * words * 16 }, (_, i) => (i * 31) % 256);
    const x = Int8Array.from({ length: words * 16 }, (_, i) => (i * 57 + 11) % 256);
    const out = new Float32Array(rows);
    await run(
      { rows: weights, x, scales: Float32Array.of(1, 2, 0.5), out, words, bias: 3 },
      { workgroups: rows },
    );
    const expected = [1, 2, 0.5].map(
      (scale, row) =>
        x.reduce((sum, value, i) => sum + value * weights[row * words * 16 + i]!, 0) * scale + 3,
    );
    expect([...out]).toEqual(expected);
  });
});

describe("a device without optional features", () => {
  test("takes the variant without subgroups, and refuses the other", async () => {
    const bare = await GpuHost.open({ bare: true });
    try {
      const options = { workgroupSize: 64, subgroups: false };
      expect((await bare.load(await parseKernel(dotRows, options))).module.usesPackedDot).toBe(false);
      const other = await parseKernel(dotRows, { ...options, subgroups: true });
      await expect(bare.load(other)).rejects.toThrow(/extension 'subgroups' is not allowed/);
    } finally {
      bare.close();
    }
  });
});

/** A kernel over a range of items, from its statements. */
const overItems = (body: string, parameters = "x: Buffer<f32>, out: Buffer<f32>") =>
  parseKernel(`export function kernel(${parameters}, begin: i32, end: i32): void {\n${body}\n}`);

describe("a kernel over a range", () => {
  test("is one invocation an item", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) { if (x[i]! < 0) continue; out[i] = x[i]! * 0.1; }",
    );
    expect(`\n${renderWgsl(kernel).text}`).toMatchInlineSnapshot(`
      "
      struct Scalars {
        range: i32,
      }

      @group(0) @binding(0) var<storage, read> x: array<f32>;
      @group(0) @binding(1) var<storage, read_write> out: array<f32>;
      @group(0) @binding(2) var<uniform> scalars: Scalars;

      @compute @workgroup_size(64)
      fn kernel(
        @builtin(workgroup_id) workgroup_id: vec3u,
        @builtin(num_workgroups) num_workgroups: vec3u,
        @builtin(local_invocation_index) local_index: u32,
      ) {
        let i = i32((workgroup_id.x + workgroup_id.y * num_workgroups.x) * 64u + local_index);
        if (i >= scalars.range) {
          return;
        }
        if (x[i] < 0.0) {
          return;
        }
        out[i] = x[i] * 0.1;
      }
      "
    `);
  });

  test("keeps begin and end where the body wants them", async () => {
    const kernel = await overItems(`const first = begin * 4;
      for (let i = first; i < end * 4; i++) out[i] = x[i]! + 1;`);
    const run = await host.load(kernel);
    const out = new Float32Array(12);
    await run({ x: new Float32Array(12), out }, { range: 2 });
    expect([...out]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
  });

  test("goes on along the second axis of the grid", async () => {
    const kernel = await overItems("for (let i = begin; i < end; i++) out[i] += 1;", "out: Buffer<i32>");
    const run = await host.load(kernel, { rangeWorkgroupSize: 1 });
    const out = new Int32Array(70_001);
    await run({ out }, { range: 70_000 });
    expect(out.subarray(0, 70_000).every((count) => count === 1)).toBe(true);
    expect(out[70_000]).toBe(0);
  });

  test("break leaves the only pass of the loop", async () => {
    const kernel = await overItems(`for (let i = begin; i < end; i++) {
      if (x[i]! < 0) { break; } else if (x[i]! > 10) { continue; }
      out[i] = 1;
    }`);
    const run = await host.load(kernel);
    const out = new Float32Array(4);
    await run({ x: Float32Array.of(1, -1, 11, 2), out }, { range: 4 });
    expect([...out]).toEqual([1, 0, 0, 1]);
  });
});

/** The results of one invocation whose statements assign `r`. */
async function results(body: string, type: "i32" | "f32" | "u32", helpers = ""): Promise<number> {
  const kernel = await parseKernel(
    `${helpers}
    export function kernel(options: Static<{ workgroupSize: number }>, out: Buffer<${type}>, n: i32, x: f32): void {
      let r: ${type} = 0;
      ${body}
      out[0] = r;
    }`,
    { workgroupSize: 1 },
  );
  const run = await host.load(kernel);
  const out = new { i32: Int32Array, f32: Float32Array, u32: Uint32Array }[type](1);
  await run({ out, n: 5, x: 2.5 }, { workgroups: 1 });
  return out[0]!;
}

describe("statements", () => {
  test("loops nest, break and continue", async () => {
    const body = `for (let i = 0; i < 10; i++) {
        if (i === 7) break;
        if (i % 2 === 0) continue;
        let j: i32 = i;
        while (j > 0) {
          j -= 2;
          if (j === 1) continue;
          r += 10 * i + j;
        }
      }
      while (true) { r += 1; if (r > 1000) break; }
      for (let k = 8; k > 0; k = k >> 1) r += k;`;
    let r = 0;
    for (let i = 0; i < 7; i++) {
      if (i % 2 === 0) continue;
      for (let j = i; j > 0; ) {
        j -= 2;
        if (j === 1) continue;
        r += 10 * i + j;
      }
    }
    expect(await results(body, "i32")).toBe(Math.max(r + 1, 1001) + 15);
  });

  test("assignments of all operators", async () => {
    expect(
      await results(
        "r = n; r += 7; r -= 2; r *= 9; r /= 4; r %= 13; r |= 8; r &= 14; r ^= 5; r <<= 3; r >>= 1; r++; r--;",
        "i32",
      ),
    ).toBe((((((Math.trunc(((5 + 7 - 2) * 9) / 4) % 13) | 8) & 14) ^ 5) << 3) >> 1);
    expect(await results("r = 5; r >>>= 1; r -= 4; r--;", "u32")).toBe((2 - 5) >>> 0);
    expect(await results("r = x; r = 3 - r; r -= 1; r = -r;", "f32")).toBe(0.5);
  });

  test("division by a run-time zero does not end the program", async () => {
    await results("r = 7 / (n - 5) + 7 % (n - 5);", "i32");
  });

  test("functions return from branches and loops", async () => {
    const helpers = `
      function search(limit: i32, divisor: i32): i32 {
        for (let i = 1; i < limit; i++) {
          if (i % divisor === 0) return i;
        }
        return -1;
      }
      function forever(start: i32): i32 {
        let i: i32 = start;
        while (true) { i += 3; if (i > 20) return i; }
      }
      function sign(v: f32): f32 { if (v < 0) { return -1; } else { return 1; } }`;
    expect(await results("r = search(n, 3) * 100 + search(n, 9); r += forever(n);", "i32", helpers)).toBe(
      299 + 23,
    );
    expect(await results("r = sign(x) - sign(-x);", "f32", helpers)).toBe(2);
  });
});

describe("literals", () => {
  test("the extremes of each type", async () => {
    expect(await results("r = -2147483648; r = r - (n - 5);", "i32")).toBe(-2147483648);
    expect(await results("r = 4294967295;", "u32")).toBe(4294967295);
    expect(await results("r = 3.4028234663852886e38;", "f32")).toBe(3.4028234663852886e38);
    expect(await results("r = 2e-38;", "f32")).toBe(Math.fround(2e-38));
    expect(await results("r = 0.1 * x;", "f32")).toBe(Math.fround(Math.fround(0.1) * 2.5));
  });

  test.each([
    3.4028234663852886e38, // the largest
    3.4028232635611926e38, // the one before
    1.1754943508222875e-38, // the smallest normal
    1.1754942106924411e-38, // the largest subnormal
    1.401298464324817e-45, // the smallest
    0,
  ])("%d with either sign, to the bit unless the device flushes subnormals", async (value) => {
    for (const signed of [value, -value]) {
      const [bits] = new Uint32Array(Float32Array.of(signed).buffer);
      const text = Object.is(signed, -0) ? "-0" : String(signed);
      const flushed = value < 2 ** -126 ? [bits! & 0x80000000, 0] : [];
      const given = await results(`r = bits.f32ToU32(${text});`, "u32");
      expect([bits, ...flushed.map((word) => word >>> 0)], text).toContain(given);
    }
  });

  test("infinities and NaN, which no constant of WGSL may be", async () => {
    expect(await results("r = Infinity;", "f32")).toBe(Number.POSITIVE_INFINITY);
    expect(await results("r = math.max(-Infinity, x - 100);", "f32")).toBe(-97.5);
    expect(await results("r = NaN;", "f32")).toBeNaN();
    expect(await results("const word: i32 = 0x7f800000; r = bits.i32ToF32(word);", "f32")).toBe(Infinity);
    expect(await results("const word: i32 = 0x3f800000; r = bits.i32ToF32(word);", "f32")).toBe(1);
  });
});

describe("names", () => {
  test("reserved words, WGSL's functions and other names of the module give way", async () => {
    const kernel = await parseKernel(
      `function twice(from: i32): i32 { let out: i32 = from; while (out < 10) out += from; return out; }
      export function kernel(options: Static<{ workgroupSize: number }>, out: Buffer<i32>, target: Buffer<i32>, select: i32, is_nan: i32): void {
        const local_index = localId();
        const max = twice(select + is_nan);
        let scalars: i32 = 0;
        for (let of = 0; of < 3; of++) scalars += of;
        const vec4u = math.max(convert.i32ToF32(max), 0);
        if (local_index === 0) { const kernel = scalars + max; out[0] = kernel + convert.f32ToI32(vec4u); }
        target[local_index] = local_index;
      }`,
      { workgroupSize: 2 },
    );
    const run = await host.load(kernel);
    const out = new Int32Array(1);
    const target = new Int32Array(2);
    await run({ out, target, select: 3, is_nan: 1 }, { workgroups: 1 });
    expect([...out, ...target]).toEqual([12 + 3 + 12, 0, 1]);
  });

  test("parameters of the bindings keep the kernel's own names", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) target[i] = from * 2;",
      "target: Buffer<f32>, unused: Buffer<f32>, from: f32, alsoUnused: i32",
    );
    const module = renderWgsl(kernel);
    expect(module.bindings).toEqual([{ parameter: "target", element: "f32", access: "read-write" }]);
    expect(module.uniforms).toEqual([{ kind: "scalar", parameter: "from", type: "f32" }, { kind: "range" }]);
    expect(module.entryPoint).toBe("kernel");
    expect(module.workgroupSize).toBe(64);
  });
});

describe("helpers", () => {
  test("one that takes buffers is rendered for each choice of them", async () => {
    const kernel = await parseKernel(
      `/** The sum of a few elements. */
      function sum(values: Buffer<f32>, count: i32): f32 {
        let total: f32 = 0;
        for (let i = 0; i < count; i++) total += values[i]!;
        return total;
      }
      function fill(to: Buffer<f32>, from: Buffer<f32>, at: i32): void {
        for (let i = at; i < at + 2; i++) to[i] = sum(from, i) + convert.i32ToF32(localId());
      }
      export function kernel(options: Static<{ workgroupSize: number }>, x: Buffer<f32>, y: Buffer<f32>, out: Buffer<f32>): void {
        const values = sum(x, 2) - sum(y, 3) + sum(x, 1);
        fill(out, x, 1);
        fill(out, y, 3);
        out[0] = values;
      }`,
      { workgroupSize: 1 },
    );
    const run = await host.load(kernel);
    const out = new Float32Array(5);
    await run({ x: Float32Array.of(1, 2, 4, 8), y: Float32Array.of(10, 20, 30, 40), out }, { workgroups: 1 });
    expect([...out]).toEqual([3 - 60 + 1, 1, 3, 60, 100]);
    expect(`\n${run.module.text}`).toMatchInlineSnapshot(`
      "
      @group(0) @binding(0) var<storage, read> x: array<f32>;
      @group(0) @binding(1) var<storage, read> y: array<f32>;
      @group(0) @binding(2) var<storage, read_write> out: array<f32>;

      // The sum of a few elements.
      fn test_sum(count: i32) -> f32 {
        var total = 0.0;
        for (var i = 0; i < count; i++) {
          total += x[i];
        }
        return total;
      }

      // The sum of a few elements.
      fn test_sum_y(count: i32) -> f32 {
        var total = 0.0;
        for (var i = 0; i < count; i++) {
          total += y[i];
        }
        return total;
      }

      fn test_fill(local_index: u32, at: i32) {
        for (var i = at; i < at + 2; i++) {
          let sum = test_sum(i);
          out[i] = sum + f32(i32(local_index));
        }
      }

      fn test_fill_out_y(local_index: u32, at: i32) {
        for (var i = at; i < at + 2; i++) {
          let sum = test_sum_y(i);
          out[i] = sum + f32(i32(local_index));
        }
      }

      @compute @workgroup_size(1)
      fn kernel(@builtin(local_invocation_index) local_index: u32) {
        let sum = test_sum(2);
        let sum_1 = test_sum_y(3);
        let value = sum - sum_1;
        let sum_2 = test_sum(1);
        let values = value + sum_2;
        test_fill(local_index, 1);
        test_fill_out_y(local_index, 3);
        out[0] = values;
      }
      "
    `);
  });
});

describe("elements narrower than a word", () => {
  const types = { i8: Int8Array, u8: Uint8Array, i16: Int16Array, u16: Uint16Array };

  test.each(Object.keys(types) as (keyof typeof types)[])(
    "%s loads and stores, many invocations to a word",
    async (type) => {
      const kernel = await overItems(
        "for (let i = begin; i < end; i++) { out[i] = x[i]!; back[i] = out[i]!; }",
        `x: Buffer<${type}>, out: Buffer<${type}>, back: Buffer<i32>`,
      );
      const run = await host.load(kernel);
      const n = 1003;
      const x = new types[type](n).map((_, i) => i * 7919 + 200);
      const back = new Int32Array(n);
      const out = new types[type](n + 3).fill(-1);
      await run({ x, out, back }, { range: n });
      expect(out.subarray(0, n)).toEqual(x);
      expect([...back]).toEqual([...x]);
      // The neighbours of the last element in its word keep theirs.
      expect([...out.subarray(n)]).toEqual([...new types[type](3).fill(-1)]);
    },
  );

  test("low bits are stored, sign and zero extended loaded", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) { narrow[i] = wide[i]!; wide[i] = narrow[i]!; }",
      "wide: Buffer<i32>, narrow: Buffer<i8>",
    );
    const run = await host.load(kernel);
    const wide = Int32Array.of(-1, 128, 255, 256, 0x1234567f, -129);
    await run({ wide, narrow: new Int8Array(6) }, { range: 6 });
    expect([...wide]).toEqual([-1, -128, -1, 0, 127, 127]);
    expect(run.module.text).toMatch(/fn store_narrow[\s\S]*atomicOr[\s\S]*fn load_narrow[\s\S]*atomicLoad/);
  });

  test("what only reads needs no atomics", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) out[i] = x[i]!;",
      "x: Buffer<i8>, out: Buffer<i32>",
    );
    expect(`\n${renderWgsl(kernel).text}`).toMatchInlineSnapshot(`
      "
      struct Scalars {
        range: i32,
      }

      @group(0) @binding(0) var<storage, read> x: array<u32>;
      @group(0) @binding(1) var<storage, read_write> out: array<i32>;
      @group(0) @binding(2) var<uniform> scalars: Scalars;

      fn load_x(index: i32) -> i32 {
        let at = u32(index);
        return extractBits(bitcast<i32>(x[at >> 2u]), 8u * (at & 3u), 8u);
      }

      @compute @workgroup_size(64)
      fn kernel(
        @builtin(workgroup_id) workgroup_id: vec3u,
        @builtin(num_workgroups) num_workgroups: vec3u,
        @builtin(local_invocation_index) local_index: u32,
      ) {
        let i = i32((workgroup_id.x + workgroup_id.y * num_workgroups.x) * 64u + local_index);
        if (i >= scalars.range) {
          return;
        }
        out[i] = load_x(i);
      }
      "
    `);
  });
});

describe("bindings", () => {
  test("booleans pass as words", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) out[i] = flag && other ? 1 : 2;",
      "out: Buffer<i32>, flag: boolean, other: boolean",
    );
    const run = await host.load(kernel);
    const out = new Int32Array(1);
    await run({ out, flag: true, other: true }, { range: 1 });
    expect(out[0]).toBe(1);
    await run({ out, flag: true, other: false }, { range: 1 });
    expect(out[0]).toBe(2);
  });

  test("a buffer may start inside its binding, or be bound read-write", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) out[i] = x[i]! + convert.i32ToF32(codes[i]!);",
      "x: Buffer<f32>, codes: Buffer<i8>, out: Buffer<f32>",
    );
    const { text, bindings, uniforms } = renderWgsl(kernel, {
      offset: new Set(["x", "codes"]),
      readWrite: new Set(["x"]),
    });
    expect(text).toContain("x[scalars.x_offset + i]");
    expect(bindings.map(({ access }) => access)).toEqual(["read-write", "read", "read-write"]);
    expect(uniforms.map((field) => [field.kind, "parameter" in field ? field.parameter : ""])).toEqual([
      ["offset", "x"],
      ["offset", "codes"],
      ["range", ""],
    ]);
    await host.validate(text);
  });

  test("an offset moves loads and stores", async () => {
    const kernel = await overItems(
      "for (let i = begin; i < end; i++) out[i] = x[i]!;",
      "x: Buffer<i8>, out: Buffer<i8>",
    );
    const run = await host.load(kernel, { offset: new Set(["x", "out"]) });
    const out = new Int8Array(8);
    await run({ x: Int8Array.of(1, 2, 3, 4, 5, 6, 7, 8), out }, { range: 3, offsets: { x: 2, out: 5 } });
    expect([...out]).toEqual([0, 0, 0, 0, 0, 3, 4, 5]);
  });
});

describe("what cannot be rendered", () => {
  const workgroup = { workgroupSize: 64 };
  const refuse = (kernel: ReturnType<typeof b.kernel>, options?: WgslOptions) =>
    expect(() => renderWgsl(kernel, options));
  const store = (buffer: ReturnType<typeof b.buffer>) => b.store(buffer, b.i32(0), b.f32(1));

  test("more buffers, invocations or shared memory than a device has", () => {
    const buffers = Array.from({ length: 9 }, (_, i) => b.buffer(`b${i}`, "f32", "write"));
    refuse(b.kernel("k", buffers, buffers.map(store), workgroup)).toThrow(
      /maxStorageBuffersPerShaderStage.*LIMIT_EXCEEDED[\s\S]*at most 8[\s\S]*9/,
    );
    expect(renderWgsl(b.kernel("k", buffers, buffers.slice(1).map(store), workgroup)).bindings).toHaveLength(
      8,
    );
    const limits = { maxStorageBuffersPerShaderStage: 12 };
    expect(
      renderWgsl(b.kernel("k", buffers, buffers.map(store), workgroup), { limits }).bindings,
    ).toHaveLength(9);

    refuse(b.kernel("k", [], [], { workgroupSize: 257 })).toThrow(/maxComputeInvocationsPerWorkgroup/);
    const shared = [b.sharedArray("a", "u32x4", 1024), b.sharedArray("b", "f32", 1)];
    expect(storageBytes("u32x4") * 1024).toBe(16384);
    refuse(b.kernel("k", [], [], { ...workgroup, shared })).toThrow(
      /maxComputeWorkgroupStorageSize[\s\S]*16400/,
    );
    expect(renderWgsl(b.kernel("k", [], [], { ...workgroup, shared: shared.slice(0, 1) })).bindings).toEqual(
      [],
    );
  });

  test("numbers that WGSL lacks", () => {
    const wide = b.buffer("wide", "f64", "read");
    const value = b.load(wide, b.i32(0));
    refuse(b.kernel("k", [wide], [b.let_("x", value)], workgroup)).toThrow(/f64.*UNSUPPORTED_OP/);
    refuse(b.kernel("k", [b.scalar("n", "i64")], [b.let_("x", b.local("n", "i64"))], workgroup)).toThrow(
      /i64/,
    );
    const double = b.convert("f64", b.local("n", "i32"));
    refuse(b.kernel("k", [b.scalar("n")], [b.let_("x", double)], workgroup)).toThrow(/f64/);
  });

  test("a kernel for neither a range nor workgroups", () => {
    refuse(b.kernel("k", [b.scalar("begin")], [])).toThrow(
      /no GPU runs k .*UNSUPPORTED_OP[\s\S]*workgroupSize/,
    );
  });

  test("a choice between effects", () => {
    const fn = b.kernel("f", [], [b.return_(b.i32(1))], { result: "i32" });
    const choice = b.conditional(b.lt(b.local("n", "i32"), b.i32(1)), b.call(fn, []), b.i32(2));
    refuse(b.kernel("k", [b.scalar("n")], [b.let_("x", choice)], { ...workgroup, helpers: [fn] })).toThrow(
      /conditional expression/,
    );
  });

  test("a barrier that some invocations would miss is the shader compiler's error", async () => {
    const kernel = await parseKernel(
      "export function kernel(options: Static<{ workgroupSize: number }>): void { if (localId() < 2) workgroupBarrier(); }",
      { workgroupSize: 4 },
    );
    await expect(host.load(kernel)).rejects.toThrow(/'workgroupBarrier' must only be called from uniform/);
  });
});
