import { describe, expect, test } from "vitest";
import { parseKernel } from "../../test/support/kernel-text.ts";
import * as b from "./build.ts";

/** A kernel for workgroups of 64 from its statements. */
const kernelOf = (body: string, helpers = "", options: Record<string, number> = { workgroupSize: 64 }) =>
  parseKernel(
    `${helpers}
    export function kernel(options: Static<{ workgroupSize: number }>, x: Buffer<f32>, codes: Buffer<u32x4>, out: Buffer<f32>): void {
      ${body}
    }`,
    options,
  );

describe("kernels for workgroups", () => {
  test("know their size and shared memory", async () => {
    const kernel = await kernelOf(`const tile = shared<f32>(options.workgroupSize * 2);
      const words = shared<u32x4>(4);
      tile[localId()] = x[0]!;
      if (localId() < 4) words[localId()] = codes[0]!;
      workgroupBarrier();
      out[localId()] = tile[1]! + convert.u32ToF32(words[0]!.x);`);
    expect(kernel.workgroupSize).toBe(64);
    expect(kernel.shared).toEqual([
      { name: "tile", element: "f32", length: 128 },
      { name: "words", element: "u32x4", length: 4 },
    ]);
    expect(kernel.parameters.map((p) => p.kind === "buffer" && p.access)).toEqual(["read", "read", "write"]);
  });

  test("every pasted call has shared memory of its own, and may pass it on", async () => {
    const kernel = await kernelOf(
      "out[0] = total(x[0]!); out[1] = total(x[1]!);",
      `function total(value: f32): f32 {
        const slots = shared<f32>(64);
        put(slots, value);
        workgroupBarrier();
        return slots[0]!;
      }
      function put(slots: Shared<f32>, value: f32): void {
        for (let i = localId(); i < 64; i += 64) slots[i] = value;
      }`,
    );
    expect(kernel.shared?.map(({ name }) => name)).toEqual(["slots", "slots_1"]);
    expect(kernel.helpers).toEqual([]);
  });

  test("a plain kernel has neither", async () => {
    const kernel = await parseKernel(
      "export function kernel(x: Buffer<f32>): void { x[0] = inverseSqrt(x[1]!); }",
    );
    expect("workgroupSize" in kernel || "shared" in kernel).toBe(false);
  });
});

describe("what combines words takes f32, i32 and u32", () => {
  test("and gives the type it took", async () => {
    const kernel = await kernelOf(`let sum: f32 = subgroupAdd(x[0]!);
      let largest = subgroupMax(localId());
      const mask: u32 = subgroupShuffleXor(codes[0]!.w, 3);
      sum += subgroupBroadcast(2, 0);
      out[largest] = sum + convert.u32ToF32(mask);`);
    const types = kernel.body.flatMap((s) => (s.kind === "let" ? [[s.name, s.type]] : []));
    expect(types).toEqual([
      ["sum", "f32"],
      ["largest", "i32"],
      ["mask", "u32"],
    ]);
  });

  test("generated kernels are checked too", () => {
    const add = (type: "f32" | "u32" | "bool") => b.intrinsic("subgroupAdd", [b.local("x", type)]).type;
    expect([add("f32"), add("u32")]).toEqual(["f32", "u32"]);
    expect(() => add("bool")).toThrow(/subgroupAdd takes other arguments/);
    const tile = b.sharedArray("tile", "i32", 4);
    expect(b.intrinsic("workgroupUniformLoad", [b.i32(0)], { buffer: tile }).type).toBe("i32");
    expect(() => b.intrinsic("workgroupUniformLoad", [b.i32(0)])).toThrow(/a shared array/);
    expect(b.load(tile, b.i32(0)).type).toBe("i32");
  });
});

describe("mistakes name the place and the reason", () => {
  test.each([
    ["workgroupBarrier();", {}, /workgroupBarrier needs to know how large a workgroup is/],
    ["const t = shared<f32>(4); out[0] = t[0]!;", {}, /shared memory needs to know how large a workgroup is/],
    ["out[0] = 1;", { workgroupSize: 0 }, /workgroupSize is a positive whole number/],
    ["out[0] = 1;", { workgroupSize: 2.5 }, /workgroupSize is a positive whole number/],
  ])("%s with options %o", async (body, options, message) => {
    await expect(kernelOf(body, "", options as Record<string, number>)).rejects.toThrow(message);
  });

  test.each([
    ["let t = shared<f32>(4);", /shared memory is declared with const/],
    ["const t = shared(4);", /shared memory names its element type/],
    ["const t = shared<i8>(4);", /shared memory names its element type/],
    ["const t = shared<f32>(localId());", /whole number known at compile time/],
    ["const t = shared<f32>(0);", /needs a length/],
    ["out[0] = shared<f32>(4)[0]!;", /initialises a const of its own/],
    ["const t = shared<f32>(4); t[0] = localId();", /expected: f32[\s\S]*received: i32/],
    ["out[0] = workgroupUniformLoad(x, 0);", /must be shared memory/],
    ["const t = shared<f32>(4); v128.load(t, 0);", /must be a buffer/],
    ["out[0] = subgroupAdd(localId() < 3);", /must be f32, i32 or u32/],
    ["const s = subgroupAdd(3);", /type of this number is not known here/],
    ["const s = subgroupShuffleXor(x[0]!, localId());", /expected: u32[\s\S]*received: i32/],
    ["const s = subgroupBroadcast(x[0]!, localId());", /whole number known at compile time/],
    ["const v = codes[0]! + codes[1]!;", /add does not take u32x4/],
    ["const v = -codes[0]!;", /- does not take u32x4/],
    ["const v = codes[0]! === codes[1]!;", /values of one scalar type compare/],
    ["const v = codes[0]!.r;", /only compile-time records have fields/],
    ["const v = component(codes[0]!, 4);", /constants below 4/],
  ])("%s", async (body, message) => {
    await expect(kernelOf(body)).rejects.toThrow(message);
  });

  test("a function of its own has no shared memory, and takes none as a buffer", async () => {
    const own = `function f(n: i32): f32 {
      const t = shared<f32>(4);
      for (let i = 0; i < n; i++) { if (i === 3) return t[i]!; }
      return 0;
    }`;
    await expect(kernelOf("out[0] = f(4);", own)).rejects.toThrow(/declares shared memory[\s\S]*pass it/);
    const takes = "function g(t: Buffer<f32>): f32 { return t[0]!; }";
    await expect(kernelOf("const t = shared<f32>(4); out[0] = g(t);", takes)).rejects.toThrow(
      /expected: Buffer<f32>[\s\S]*received: Shared<f32>/,
    );
  });
});
