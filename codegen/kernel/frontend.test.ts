import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import { compileKernel, instantiateKernel, parseKernel } from "../../test/support/kernel-text.ts";
import { add, buffer, load, local, mul, scalar } from "./build.ts";
import { loadTemplate, specialize } from "./frontend.ts";
import type { InlineFunction } from "./ir.ts";

/** Runs `kernel(a, b)` of the text. */
async function evaluate(text: string, ...args: number[]): Promise<number> {
  return (await compileKernel(text)).run(...args);
}

describe("control flow", () => {
  test("for, while, break and continue", async () => {
    const text = `export function kernel(n: i32): i32 {
      let sum: i32 = 0;
      for (let i = 0; i < n; i++) {
        if (i % 3 === 0) continue;
        if (i > 10) break;
        sum += i;
      }
      let k = n;
      while (k > 1) {
        if (k === 7) { k -= 2; continue; }
        k >>= 1;
        sum += 100;
      }
      while (true) {
        sum += 1000;
        if (sum > 3000) break;
      }
      return sum;
    }`;
    const reference = (n: number): number => {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        if (i % 3 === 0) continue;
        if (i > 10) break;
        sum += i;
      }
      let k = n;
      while (k > 1) {
        if (k === 7) {
          k -= 2;
          continue;
        }
        k >>= 1;
        sum += 100;
      }
      while (true) {
        sum += 1000;
        if (sum > 3000) break;
      }
      return sum;
    };
    const { run } = await compileKernel(text);
    for (const n of [0, 1, 2, 7, 15, 40]) expect(run(n)).toBe(reference(n));
  });

  test("loops over u32 compare unsigned", async () => {
    const text = `export function kernel(n: u32): i32 {
      let count: i32 = 0;
      for (let i: u32 = 0xfffffff0; i < n; i += 1) count += 1;
      return count;
    }`;
    expect(await evaluate(text, -1)).toBe(15);
  });

  test("early returns, and both sides of a conditional stay lazy", async () => {
    const text = `export function kernel(a: i32, b: i32): i32 {
      if (b === 0) return -1;
      const safe = a > 100 && a / (a - 200) > 0 ? a / b : b - a;
      return a === 5 ? 7 : safe;
    }`;
    const { run } = await compileKernel(text);
    expect(run(1, 0)).toBe(-1);
    expect(run(5, 2)).toBe(7);
    expect(run(9, 2)).toBe(-7);
    expect(run(300, 2)).toBe(150);
    // The guarded division is not reached.
    expect(
      (
        await compileKernel(`export function kernel(a: i32): i32 { return a !== 0 && 10 / a > 2 ? 1 : 0; }`)
      ).run(0),
    ).toBe(0);
  });

  test("shadowed names are different variables", async () => {
    const text = `export function kernel(a: i32): i32 {
      const x = a + 1;
      let total: i32 = 0;
      { const x = a * 10; total += x; }
      for (let i = 0; i < 2; i++) { const x = i; total += x * 100; }
      return total + x;
    }`;
    expect(await evaluate(text, 3)).toBe(30 + 100 + 4);
  });
});

describe("compile time", () => {
  test("branches on constants are decided before the dead side is looked at", async () => {
    const kernel = await parseKernel(
      `export function kernel(options: Static<{ mode: string; fast: boolean; n: number }>, a: i32): i32 {
        if (options.mode === "double") return a * 2;
        if (options.fast && options.n > 3) return nonsense(a) + "text";
        switch (options.mode) {
          case "never": return undefinedName;
          case "triple": { return a * 3; }
        }
        return 0;
      }`,
      { mode: "triple", fast: true, n: 3 },
    );
    expect((await instantiateKernel(kernel)).run(5)).toBe(15);
    expect(kernel.body).toHaveLength(1);
  });

  test("constants fold with the semantics of the target", async () => {
    const kernel = await parseKernel(`
      const MASK = 0xff;
      export function kernel(): i32 {
        const big: i32 = 0x7fffffff;
        const wrapped = big + 1;
        const third: f32 = 1;
        const x = third / 3;
        const exact: boolean = x === 0.3333333432674408;
        if (!exact) return -1;
        return (wrapped >>> 28) + (MASK >> 4) + Math.floor(7 / 2) * 100 + convert.f32ToI32(1e20) % 10;
      }`);
    expect(kernel.body).toEqual([
      { kind: "return", value: { kind: "literal", type: "i32", value: 8 + 15 + 300 + 7 } },
    ]);
  });

  test("unroll repeats its body, registers become locals", async () => {
    const text = `export function kernel(options: Static<{ n: number }>, x: Buffer<f32>): f32 {
      const zero: f32 = 0;
      const acc = registers(options.n, registers(2, zero));
      for (const r of unroll(options.n)) {
        for (const c of unroll(2)) acc[r]![c] += x[2 * r + c]! * (r + 1);
      }
      let total: f32 = 0;
      for (const r of unroll(options.n)) total += acc[r]![0]! - acc[r]![1]!;
      return total;
    }`;
    const kernel = await parseKernel(text, { n: 3 });
    expect(JSON.stringify(kernel.body)).not.toContain('"for"');
    const { memory, run } = await instantiateKernel(kernel);
    new Float32Array(memory.buffer, 4096, 6).set([1, 2, 4, 8, 16, 32]);
    expect(run(4096)).toBe(1 - 2 + 2 * (4 - 8) + 3 * (16 - 32));
  });

  test("records nest, spread and are taken apart; lists are indexed", async () => {
    const text = `
      function scaled(options: Static<{ by: number }>, a: i32): i32 { return a * options.by; }
      const TABLE = [5, 6, 7];
      export function kernel(options: Static<{ inner: { by: number }; list: number[] }>, a: i32): i32 {
        const { inner, list } = options;
        const more = { ...inner, extra: 1 };
        return scaled({ by: more.by + more.extra }, a) + list[1]! + TABLE[2]!;
      }`;
    const { run } = await compileKernel(text, { inner: { by: 2 }, list: [10, 20] });
    expect(run(4)).toBe(12 + 20 + 7);
  });

  test("an option that is not given is undefined", async () => {
    const text = `export function kernel(options: Static<{ bias?: number }>, a: i32): i32 {
      if (options.bias !== undefined) return a + options.bias;
      return a;
    }`;
    expect((await compileKernel(text)).run(4)).toBe(4);
    expect((await compileKernel(text, { bias: 3 })).run(4)).toBe(7);
  });
});

describe("functions", () => {
  test("straight-line helpers are pasted, others become functions, once each", async () => {
    const kernel = await parseKernel(`
      /** a squared */
      function square(a: i32): i32 { const b = a; return a * b; }
      function gcd(a: i32, b: i32): i32 {
        let x = a;
        let y = b;
        while (y !== 0) { const t = x % y; x = y; y = t; }
        return x;
      }
      function twice(a: i32): i32 { return gcd(a, 12) + gcd(a, 18); }
      export function kernel(a: i32): i32 { return square(a) + twice(a) + gcd(a, 4); }`);
    expect(kernel.helpers.map(({ name }) => name)).toEqual(["test_gcd"]);
    expect((await instantiateKernel(kernel)).run(24)).toBe(576 + 12 + 6 + 4);
  });

  test("arrow functions close over locals, and see their changes", async () => {
    const text = `export function kernel(x: Buffer<f32>, n: i32): f32 {
      let total: f32 = 0;
      const addUp = (i: i32, factor: f32): void => { total += x[i]! * factor; };
      const next = (): f32 => { total += 1; return total; };
      for (let i = 0; i < n; i++) addUp(i, 2);
      return total * 1000 + next() * 100 + next();
    }`;
    const { memory, run } = await compileKernel(text);
    new Float32Array(memory.buffer, 4096, 3).set([1, 2, 3]);
    // Left to right: 12, then 13, then 14.
    expect(run(4096, 3)).toBe(12_000 + 1300 + 14);
  });

  test("pasted functions may return from branches", async () => {
    const text = `export function kernel(a: i32): i32 {
      const sign = (x: i32): i32 => {
        if (x < 0) return -1;
        if (x > 0) { return 1; } else { const zero: i32 = 0; return zero; }
      };
      return sign(a) * 10 + sign(-a);
    }`;
    const { run } = await compileKernel(text);
    expect([-5, 0, 5].map((a) => run(a))).toEqual([-9, 0, 9]);
  });

  test("an argument is evaluated once, before the body", async () => {
    const text = `
      function store2(x: Buffer<i32>, at: i32, value: i32): i32 { x[at] = value; x[at + 1] = value; return value; }
      export function kernel(x: Buffer<i32>): i32 {
        return x[0]! + store2(x, 0, x[0]! + 5) * 10 + x[0]! * 100;
      }`;
    const { memory, run } = await compileKernel(text);
    new Int32Array(memory.buffer, 4096, 1)[0] = 1;
    expect(run(4096)).toBe(1 + 60 + 600);
  });

  test("compound assignment reads its target first", async () => {
    const text = `export function kernel(x: Buffer<i32>): i32 {
      let total: i32 = 1;
      const bump = (by: i32): i32 => { total += by; x[0] = total; return by; };
      total += bump(10);
      x[0]! += bump(100);
      return total * 1000 + x[0]!;
    }`;
    const { memory, run } = await compileKernel(text);
    new Int32Array(memory.buffer, 4096, 1)[0] = 5;
    // 1 + 10 = 11, then x[0] = 11 + 100 with total = 111.
    expect(run(4096)).toBe(111_000 + 111);
  });

  test("a value handed to an untyped parameter is read once", async () => {
    const text = `
      function later(value: unknown, x: Buffer<i32>): i32 { x[0] = 9; return value; }
      export function kernel(x: Buffer<i32>): i32 { return later(x[0]!, x) + x[0]! * 10; }`;
    const { memory, run } = await compileKernel(text);
    new Int32Array(memory.buffer, 4096, 1)[0] = 5;
    expect(run(4096)).toBe(95);
  });

  test("imports from sibling files", async () => {
    const folder = await mkdtemp(join(tmpdir(), "kernels-"));
    try {
      await writeFile(
        join(folder, "math.ts"),
        `import type { f32 } from "bitloom/kernel";
         import { SCALE } from "./constants.ts";
         export function scale(x: f32): f32 { return x * SCALE; }`,
      );
      await writeFile(join(folder, "constants.ts"), "export const SCALE = 2.5;\n");
      await writeFile(
        join(folder, "main.ts"),
        `import type { f32 } from "bitloom/kernel";
         import { scale as by } from "./math.ts";
         /** Scales. */
         export function main(x: f32): f32 { return by(x) + by(1); }`,
      );
      const kernel = specialize(await loadTemplate(join(folder, "main.ts"), "main"), { name: "main" });
      expect(kernel.doc).toBe("Scales.");
      expect((await instantiateKernel(kernel)).run(4)).toBe(12.5);
      await expect(loadTemplate(join(folder, "main.ts"), "other")).rejects.toThrow(
        /KERNEL_SYNTAX[\s\S]*main/,
      );
      await expect(loadTemplate(join(folder, "missing.ts"), "f")).rejects.toThrow(/MISSING_FILE/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("inline function options", () => {
  const scaleBuffer = buffer("scale", "f32");
  const epilogue = (name: string): InlineFunction => ({
    parameters: [
      { name: "acc", type: "f32" },
      { name: "column", type: "i32" },
    ],
    captures: [scaleBuffer, scalar("gain", "f32")],
    body: [
      {
        kind: "let",
        name: "product",
        type: "f32",
        mutable: false,
        value: mul(local("acc", "f32"), load(scaleBuffer, local("column", "i32"))),
      },
    ],
    result: name === "add" ? add(local("product", "f32"), local("gain", "f32")) : local("product", "f32"),
  });
  const text = `export function kernel(
      options: Static<{ second: unknown; first: unknown }>, scale: Buffer<f32>, out: Buffer<f32>, begin: i32, end: i32,
    ): void {
      for (let i = begin; i < end; i++) {
        const product: f32 = 100;
        out[i] = options.first(scale[i]! + 1, i) + options.second(product, i);
      }
    }`;

  test("captures become parameters before begin and end, in the order of the options", async () => {
    const kernel = await parseKernel(text, { first: epilogue("mul"), second: epilogue("add") });
    expect(kernel.parameters.map(({ name }) => name)).toEqual([
      "scale",
      "out",
      "scale_1",
      "gain",
      "scale_2",
      "gain_1",
      "begin",
      "end",
    ]);
    expect(kernel.parameters.map((p) => (p.kind === "buffer" ? p.access : p.type))).toEqual([
      "read",
      "write",
      "read",
      "f32",
      "read",
      "f32",
      "i32",
      "i32",
    ]);
    const { memory, run } = await instantiateKernel(kernel);
    new Float32Array(memory.buffer, 4096, 4).set([1, 2, 3, 4]);
    new Float32Array(memory.buffer, 8192, 4).set([2, 2, 2, 2]);
    new Float32Array(memory.buffer, 12288, 4).set([1, 10, 1, 10]);
    run(4096, 16384, 8192, 0, 12288, 0.5, 1, 3);
    expect([...new Float32Array(memory.buffer, 16384, 4)]).toEqual([0, 3 * 2 + 1000.5, 4 * 2 + 100.5, 0]);
  });
});

describe("errors name the place and the reason", () => {
  const failing = async (body: string, parameters = "x: Buffer<f32>, n: i32"): Promise<BitloomError> => {
    // The vocabulary's import is line 1, so the body starts at line 3.
    const text = `export function kernel(${parameters}) {\n${body}\n}`;
    try {
      await parseKernel(text);
    } catch (error) {
      if (error instanceof BitloomError) return error;
      throw error;
    }
    throw new Error(`accepted: ${body}`);
  };

  test.each([
    ["let a = 1;", "KERNEL_TYPE", "3:5", /needs a type/],
    ["let a = n + 1.5;", "KERNEL_TYPE", "3:13", /i32[\s\S]*1.5/],
    ["let a = x[0]! + n;", "KERNEL_TYPE", "3:9", /f32 and i32/],
    ["if (n) return;", "KERNEL_TYPE", "3:5", /boolean/],
    ["x[n] = n;", "KERNEL_TYPE", "3:8", /f32[\s\S]*i32/],
    ["x[x[0]!] = 1;", "KERNEL_TYPE", "3:3", /i32[\s\S]*f32/],
    ["const a = v128.load(x, n) + v128.load(x, n);", "KERNEL_TYPE", "3:11", /v128/],
    ["const a = i32x4.extractLane(v128.load(x, n), 4);", "KERNEL_TYPE", "3:46", /below 4/],
    ["const a = i32x4.extractLane(v128.load(x, n), n);", "KERNEL_TYPE", "3:46", /compile time/],
    ["const a = f32x4.splat(n);", "KERNEL_TYPE", "3:23", /f32[\s\S]*i32/],
    ["const a = f32x4.splat();", "KERNEL_TYPE", "3:11", /1 arguments/],
    ["const a = x[0]! % 2;", "KERNEL_TYPE", "3:11", /rem/],
    ["return n;", "KERNEL_TYPE", "3:8", /nothing/],
    ["for (const i of unroll(n)) x[i] = 1;", "KERNEL_TYPE", "3:24", /compile time/],
    ["const r = registers(2, x[0]!);\n r[2] = 1;", "KERNEL_TYPE", "4:2", /out of range/],
    ["n = 3;", "KERNEL_SYNTAX", "2:40", /parameter n is assigned/],
    ["const a = n + 1; a = 2;", "KERNEL_SYNTAX", "3:18", /only let/],
    ["do { } while (n > 0);", "KERNEL_SYNTAX", "3:1", /DoStatement/],
    ["try { } finally { }", "KERNEL_SYNTAX", "3:1", /TryStatement/],
    ["const a = n == 1;", "KERNEL_SYNTAX", "3:11", /===/],
    ["const a = missing;", "KERNEL_SYNTAX", "3:11", /missing/],
    ["const a = f32x4.frobnicate(n);", "KERNEL_SYNTAX", "3:11", /f32x4.frobnicate/],
    ["const a = new Float32Array(4);", "KERNEL_SYNTAX", "3:11", /NewExpression/],
    ["var a: i32 = 1;", "KERNEL_SYNTAX", "3:1", /let or const/],
    ["for (const i of unroll(2)) break;", "KERNEL_SYNTAX", "3:28", /loop/],
    ["for (let i = 0; i < n; ) x[i] = 1;", "KERNEL_SYNTAX", "3:1", /for loop/],
    ["for (let i = 0; i < n; i++) i = 3;", "KERNEL_SYNTAX", "3:29", /loop variable/],
    ["for (let i: f32 = 0; i < 3; i++) x[0] = 1;", "KERNEL_TYPE", "3:19", /i32 or u32/],
    ["n + 1;", "KERNEL_SYNTAX", "3:1", /no effect/],
    ["let b = n; let a: i32 = b++;", "KERNEL_SYNTAX", "3:25", /not part/],
    ["const f = (a: i32): i32 => f(a); x[0] = 1; const y = f(n);", "KERNEL_SYNTAX", "3:28", /f/],
    ["const a = convert.i32ToF32(x[0]!);", "KERNEL_TYPE", "3:28", /i32[\s\S]*f32/],
    ["const a = math.sqrt(true);", "KERNEL_TYPE", "3:21", /f32[\s\S]*true/],
  ] as const)("%s", async (body, code, place, reason) => {
    const error = await failing(body);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(reason);
    expect(error.location).toBe(`/kernels/test.ts:${place}`);
  });

  test("parameters need kernel types", async () => {
    expect((await failing("return;", "x: Buffer")).message).toMatch(/element type/);
    expect((await failing("return;", "x: Buffer<f16>")).message).toMatch(/Buffer<f16>/);
    expect((await failing("return;", "n: i32, x: string")).message).toMatch(/x needs a kernel type/);
    expect((await failing("return;", "n: u8")).message).toMatch(/storage type/);
  });

  test("recursion is refused", async () => {
    const text = `
      function f(n: i32): i32 { if (n > 0) return f(n - 1); return 0; }
      export function kernel(n: i32): i32 { return f(n); }`;
    await expect(parseKernel(text)).rejects.toThrow(/cannot call themselves/);
  });

  test("options for a kernel without options are refused", async () => {
    await expect(parseKernel("export function kernel(n: i32): void {}", { tile: 2 })).rejects.toThrow(
      /takes no options/,
    );
  });

  test("a file with anything but imports, types, constants and functions is refused", async () => {
    await expect(parseKernel("export class A {}")).rejects.toThrow(/KERNEL_SYNTAX[\s\S]*test.ts:2:1/);
    await expect(parseKernel('import { x } from "lodash";')).rejects.toThrow(/lodash/);
  });

  test("text that does not parse is refused where it breaks", async () => {
    const error = await failing("x[n] = (1;");
    expect(error.code).toBe("KERNEL_SYNTAX");
    expect(error.location).toBe("/kernels/test.ts:3:10");
  });
});
