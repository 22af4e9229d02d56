import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { assemble } from "../targets/wasm/assemble.ts";
import { renderKernelModule } from "../targets/wasm/functions.ts";
import { buffer, effect, i32, intrinsic, kernel, local, scalar } from "./build.ts";
import { intrinsics, typesOf } from "./intrinsic-table.ts";
import * as vocabulary from "./intrinsics.ts";
import type { BufferParameter, Expr, KernelFunction, Stmt } from "./ir.ts";

/** Imports with a meaning of their own in the front end. */
const constructs = ["registers", "select", "shared", "unroll"];
/** What WebAssembly has an instruction for; the WGSL target's test covers the others. */
const onWasm = [...intrinsics.values()].filter(({ wat, conversion }) => wat !== undefined || conversion);

describe("the table and the vocabulary", () => {
  test("have the same names", () => {
    const names = Object.entries(vocabulary).flatMap(([name, value]) =>
      typeof value === "function" ? [name] : Object.keys(value).map((key) => `${name}.${key}`),
    );
    expect(names.filter((name) => !constructs.includes(name)).sort()).toEqual([...intrinsics.keys()].sort());
  });

  test("have the same signatures", async () => {
    const source = await readFile(new URL("./intrinsics.ts", import.meta.url), "utf8");
    let checked = 0;
    for (const [, parameters, result, name] of source.matchAll(
      /\(([^()]*)\): (\w+) =>\s*outsideKernel\("([\w.]+)"\)/g,
    )) {
      const entry = intrinsics.get(name!)!;
      const expected: string[] = entry.parameters.map((type) => (type === "bool" ? "boolean" : type));
      if (entry.memory !== undefined) expected.unshift(entry.memory === "shared" ? "Shared" : "Buffer");
      expected.splice(entry.immediates.start, 0, ...Array<string>(entry.immediates.count).fill("number"));
      const declared = parameters!
        .split(", ")
        .filter(Boolean)
        .map((parameter) => parameter.split(": ")[1]);
      expect(declared, name!).toEqual(expected);
      expect(result, name!).toBe(entry.result === "bool" ? "boolean" : entry.result);
      checked++;
    }
    // All but shuffle, which takes a rest parameter.
    expect(checked).toBe(intrinsics.size - 1);
  });
});

type Lanes = { readonly size: 1 | 2 | 4; readonly count: number };
const shapes = {
  i8x16: { size: 1, count: 16 },
  i16x8: { size: 2, count: 8 },
  i32x4: { size: 4, count: 4 },
} as const;

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, 16);
function lanes(bytes: Uint8Array, { size, count }: Lanes, signed = true): number[] {
  const data = view(bytes);
  return Array.from({ length: count }, (_, i) => {
    if (size === 1) return signed ? data.getInt8(i) : data.getUint8(i);
    if (size === 2) return signed ? data.getInt16(2 * i, true) : data.getUint16(2 * i, true);
    return signed ? data.getInt32(4 * i, true) : data.getUint32(4 * i, true);
  });
}
function fromLanes(values: readonly number[], { size }: Lanes): Uint8Array {
  const bytes = new Uint8Array(16);
  values.forEach((value, i) => {
    if (size === 1) view(bytes).setInt8(i, value);
    else if (size === 2) view(bytes).setInt16(2 * i, value, true);
    else view(bytes).setInt32(4 * i, value, true);
  });
  return bytes;
}
const f32s = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];
const f64s = (bytes: Uint8Array) => [...new Float64Array(bytes.slice().buffer)];
const ofF32 = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const ofF64 = (values: readonly number[]) => new Uint8Array(Float64Array.from(values).buffer);
const ofI64 = (values: readonly bigint[]) => new Uint8Array(BigInt64Array.from(values).buffer);

function nearestEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  const rounded = rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
  return rounded === 0 && (x < 0 || Object.is(x, -0)) ? -0 : rounded;
}
const truncSat = (x: number) =>
  Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));
const clamp = (x: number, low: number, high: number) => Math.max(low, Math.min(high, x));

type Value = Uint8Array | number | bigint;
/** Gets the arguments, for memory intrinsics the memory at the index, then the immediates. */
type Reference = (args: readonly Value[], immediates: readonly number[]) => Value | boolean;
const references = new Map<string, Reference>();

for (const [shape, layout] of Object.entries(shapes)) {
  const bits = 8 * layout.size;
  const wide = { size: (2 * layout.size) as 2 | 4, count: layout.count / 2 };
  const of = (values: number[]) => fromLanes(values, layout);
  const signed = (v: Value) => lanes(v as Uint8Array, layout);
  const unsigned = (v: Value) => lanes(v as Uint8Array, layout, false);
  const add = (name: string, reference: Reference) => references.set(`${shape}.${name}`, reference);
  const map1 = (name: string, fn: (a: number) => number) => add(name, ([a]) => of(signed(a!).map(fn)));
  const map2 = (name: string, fn: (a: number, b: number) => number, read = signed) =>
    add(name, ([a, b]) => of(read(a!).map((x, i) => fn(x, read(b!)[i]!))));
  add("splat", ([a]) => of(Array(layout.count).fill(a)));
  map2("add", (a, b) => a + b);
  map2("sub", (a, b) => a - b);
  map2("mul", Math.imul);
  map1("neg", (a) => -a);
  map1("abs", Math.abs);
  map2("minS", Math.min);
  map2("maxS", Math.max);
  map2("minU", Math.min, unsigned);
  map2("maxU", Math.max, unsigned);
  map2("eq", (a, b) => -(a === b));
  map2("ne", (a, b) => -(a !== b));
  map2("ltS", (a, b) => -(a < b));
  map2("gtS", (a, b) => -(a > b));
  map2("gtU", (a, b) => -(a > b), unsigned);
  const by = (count: Value) => Number(count) & (bits - 1);
  add("shl", ([a, n]) => of(signed(a!).map((x) => x << by(n!))));
  add("shrS", ([a, n]) => of(signed(a!).map((x) => x >> by(n!))));
  add("shrU", ([a, n]) => of(unsigned(a!).map((x) => x >>> by(n!))));
  for (const name of ["extractLane", "extractLaneS"]) add(name, ([a], [lane]) => signed(a!)[lane!]!);
  add("extractLaneU", ([a], [lane]) => unsigned(a!)[lane!]!);
  add("replaceLane", ([a, x], [lane]) => of(signed(a!).map((y, i) => (i === lane ? Number(x) : y))));
  add("bitmask", ([a]) => signed(a!).reduce((mask, x, i) => mask | (x < 0 ? 1 << i : 0), 0));
  add("allTrue", ([a]) => signed(a!).every((x) => x !== 0));

  // Widening: results in lanes of twice the size, named by the narrow shape.
  if (layout.size === 4) continue;
  const wideName = layout.size === 1 ? "i16x8" : "i32x4";
  const source = layout.size === 1 ? "I8x16" : "I16x8";
  const half = wide.count;
  for (const [sign, read] of [
    ["S", signed],
    ["U", unsigned],
  ] as const) {
    for (const [end, start] of [
      ["Low", 0],
      ["High", half],
    ] as const) {
      const part = (v: Value) => read(v).slice(start, start + half);
      references.set(`${wideName}.extend${end}${source}${sign}`, ([a]) => fromLanes(part(a!), wide));
      references.set(`${wideName}.extmul${end}${source}${sign}`, ([a, b]) =>
        fromLanes(
          part(a!).map((x, i) => x * part(b!)[i]!),
          wide,
        ),
      );
    }
    references.set(`${wideName}.extaddPairwise${source}${sign}`, ([a]) =>
      fromLanes(
        Array.from({ length: half }, (_, i) => read(a!)[2 * i]! + read(a!)[2 * i + 1]!),
        wide,
      ),
    );
    const [low, high] = sign === "S" ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
    const wideSource = layout.size === 1 ? "I16x8" : "I32x4";
    references.set(`${shape}.narrow${wideSource}${sign}`, ([a, b]) =>
      of([a, b].flatMap((v) => lanes(v as Uint8Array, wide).map((x) => clamp(x, low, high)))),
    );
    references.set(`${wideName}.load${bits}x${half}${sign}`, ([a]) =>
      fromLanes(read(a!).slice(0, half), wide),
    );
  }
}
references.set("i32x4.dotI16x8S", ([a, b]) => {
  const products = lanes(a as Uint8Array, shapes.i16x8).map(
    (x, i) => x * lanes(b as Uint8Array, shapes.i16x8)[i]!,
  );
  return fromLanes(
    [0, 2, 4, 6].map((i) => products[i]! + products[i + 1]!),
    shapes.i32x4,
  );
});
references.set("i32x4.truncSatF32x4S", ([a]) => fromLanes(f32s(a as Uint8Array).map(truncSat), shapes.i32x4));
references.set("i8x16.popcnt", ([a]) => {
  const count = (x: number) => [...x.toString(2)].filter((bit) => bit === "1").length;
  return fromLanes(lanes(a as Uint8Array, shapes.i8x16, false).map(count), shapes.i8x16);
});
references.set("i8x16.swizzle", ([a, b]) => (b as Uint8Array).map((index) => (a as Uint8Array)[index] ?? 0));
references.set("shuffle", ([a, b], bytes) =>
  Uint8Array.from(bytes, (index) => [...(a as Uint8Array), ...(b as Uint8Array)][index]!),
);

const bytewise =
  (fn: (a: number, b: number, c: number) => number): Reference =>
  ([a, b, c]) =>
    (a as Uint8Array).map((x, i) =>
      fn(x, (b as Uint8Array | undefined)?.[i] ?? 0, (c as Uint8Array | undefined)?.[i] ?? 0),
    );
references.set(
  "v128.and",
  bytewise((a, b) => a & b),
);
references.set(
  "v128.or",
  bytewise((a, b) => a | b),
);
references.set(
  "v128.xor",
  bytewise((a, b) => a ^ b),
);
references.set(
  "v128.andnot",
  bytewise((a, b) => a & ~b),
);
references.set(
  "v128.not",
  bytewise((a) => ~a),
);
references.set(
  "v128.bitselect",
  bytewise((a, b, mask) => (a & mask) | (b & ~mask)),
);
references.set("v128.anyTrue", ([a]) => (a as Uint8Array).some((x) => x !== 0));
references.set("v128.load", ([a]) => a!);
for (const bytes of [1, 2, 4, 8]) {
  references.set(`v128.load${8 * bytes}Splat`, ([a]) =>
    Uint8Array.from({ length: 16 }, (_, i) => (a as Uint8Array)[i % bytes]!),
  );
  references.set(`v128.load${8 * bytes}Zero`, ([a]) =>
    Uint8Array.from({ length: 16 }, (_, i) => (i < bytes ? (a as Uint8Array)[i]! : 0)),
  );
}
references.set("v128.store", ([, value]) => value!);

const min = (a: number, b: number) => Math.min(a, b);
const max = (a: number, b: number) => Math.max(a, b);
for (const [shape, read, write] of [
  ["f32x4", f32s, ofF32],
  ["f64x2", f64s, ofF64],
] as const) {
  const map1 = (name: string, fn: (a: number) => number) =>
    references.set(`${shape}.${name}`, ([a]) => write(read(a as Uint8Array).map(fn)));
  const map2 = (name: string, fn: (a: number, b: number) => number) =>
    references.set(`${shape}.${name}`, ([a, b]) =>
      write(read(a as Uint8Array).map((x, i) => fn(x, read(b as Uint8Array)[i]!))),
    );
  map2("add", (a, b) => a + b);
  map2("sub", (a, b) => a - b);
  map2("mul", (a, b) => a * b);
  map2("div", (a, b) => a / b);
  map2("min", min);
  map2("max", max);
  // Unlike Math.min these give the first operand when either is NaN.
  map2("pmin", (a, b) => [a, b][Number(b < a)]!);
  map2("pmax", (a, b) => [a, b][Number(a < b)]!);
  map1("neg", (a) => -a);
  map1("abs", Math.abs);
  map1("sqrt", Math.sqrt);
  map1("nearest", nearestEven);
  map1("floor", Math.floor);
  const count = 16 / (shape === "f32x4" ? 4 : 8);
  references.set(`${shape}.splat`, ([a]) => write(Array(count).fill(Number(a))));
  references.set(`${shape}.extractLane`, ([a], [lane]) => read(a as Uint8Array)[lane!]!);
  references.set(`${shape}.replaceLane`, ([a, x], [lane]) =>
    write(read(a as Uint8Array).map((y, i) => (i === lane ? Number(x) : y))),
  );
}
for (const [name, fn] of Object.entries({
  eq: (a: number, b: number) => a === b,
  lt: (a: number, b: number) => a < b,
  gt: (a: number, b: number) => a > b,
  le: (a: number, b: number) => a <= b,
  ge: (a: number, b: number) => a >= b,
})) {
  references.set(`f32x4.${name}`, ([a, b]) =>
    fromLanes(
      f32s(a as Uint8Array).map((x, i) => -fn(x, f32s(b as Uint8Array)[i]!)),
      shapes.i32x4,
    ),
  );
}
references.set("f32x4.convertI32x4S", ([a]) => ofF32(lanes(a as Uint8Array, shapes.i32x4)));
references.set("f32x4.convertI32x4U", ([a]) => ofF32(lanes(a as Uint8Array, shapes.i32x4, false)));
references.set("f32x4.demoteF64x2Zero", ([a]) => ofF32([...f64s(a as Uint8Array), 0, 0]));
references.set("f64x2.promoteLowF32x4", ([a]) => ofF64(f32s(a as Uint8Array).slice(0, 2)));
const i64s = (v: Value) => [...new BigInt64Array((v as Uint8Array).slice().buffer)];
references.set("i64x2.splat", ([a]) => ofI64([BigInt(a as bigint), BigInt(a as bigint)]));
references.set("i64x2.add", ([a, b]) => ofI64(i64s(a!).map((x, i) => x + i64s(b!)[i]!)));
references.set("i64x2.sub", ([a, b]) => ofI64(i64s(a!).map((x, i) => x - i64s(b!)[i]!)));

const scalarReference = (name: string, fn: (...values: number[]) => number) =>
  references.set(name, (args) => fn(...args.map(Number)));
scalarReference("bits.f32ToI32", (x) => new Int32Array(Float32Array.of(x).buffer)[0]!);
scalarReference("bits.i32ToF32", (x) => new Float32Array(Int32Array.of(x).buffer)[0]!);
scalarReference("bits.f32ToU32", (x) => new Uint32Array(Float32Array.of(x).buffer)[0]!);
scalarReference("bits.u32ToF32", (x) => new Float32Array(Uint32Array.of(x).buffer)[0]!);
scalarReference("math.sqrt", (x) => Math.fround(Math.sqrt(x)));
scalarReference("math.abs", Math.abs);
scalarReference("math.nearest", nearestEven);
scalarReference("math.floor", Math.floor);
scalarReference("math.min", min);
scalarReference("math.max", max);

/** Executed by other engines only; the module below shows that they assemble. */
const relaxed = new Set(["i32x4.relaxedDotI8x16I7x16AddS"]);

const BASE = 4096;
const RESULT = 8192;
const immediatesOf = new Map<string, number[][]>(
  onWasm.map(({ name, immediates: { count, below } }) => {
    if (count === 0) return [name, [[]]];
    if (count === 1) return [name, Array.from({ length: below }, (_, i) => [i])];
    return [
      name,
      [
        Array.from({ length: 16 }, (_, i) => i * 2),
        Array.from({ length: 16 }, (_, i) => 31 - i),
        [0, 0, 31, 16, 15, 8, 9, 10, 11, 1, 2, 3, 30, 29, 28, 7],
      ],
    ];
  }),
);

/** A function that loads vectors from `vectors`, calls the intrinsic and stores or returns the result. */
function probe(name: string, immediates: readonly number[], id: string): KernelFunction {
  const row = intrinsics.get(name)!;
  const entry = { ...row, ...typesOf(row, "i32") };
  const vectors = buffer("vectors", "u8");
  const result = buffer("result", "u8", "write");
  const target: BufferParameter = buffer("target", "u8");
  const scalars = entry.parameters.flatMap((type, i) => (type === "v128" ? [] : [scalar(`x${i}`, type)]));
  const args = entry.parameters.map(
    (type, i): Expr =>
      type === "v128" ? intrinsic("v128.load", [i32(16 * i)], { buffer: vectors }) : local(`x${i}`, type),
  );
  const value: Expr = entry.conversion
    ? { kind: "convert", type: entry.result as "f32", operand: args[0]! }
    : intrinsic(name, args, { immediates, ...(entry.memory === "buffer" ? { buffer: target } : {}) });
  const body: Stmt[] =
    entry.result === "v128"
      ? [effect(intrinsic("v128.store", [i32(0), value], { buffer: result }))]
      : entry.result === "void"
        ? [effect(value)]
        : [{ kind: "return", value }];
  const returns = entry.result === "v128" || entry.result === "void" ? {} : { result: entry.result };
  return kernel(id, [vectors, target, result, ...scalars], body, returns);
}

const vectors: Uint8Array[] = [
  ofF32([1.5, -2.5, 0.5, -0.5]),
  ofF32([Number.NaN, Number.POSITIVE_INFINITY, -0, 3.4e38]),
  ofF32([2147483648, -2147483904, 1e-40, -1.5]),
  ofF64([1.1, -1e300]),
  fromLanes([-128, 127, 0, 1, -1, 2, 3, 4, 100, -100, 64, -64, 7, 8, 9, 10], shapes.i8x16),
  fromLanes([-32768, 32767, 300, -300, 0, 1, -1, 128], shapes.i16x8),
  fromLanes([-2147483648, 2147483647, 70000, -1], shapes.i32x4),
  Uint8Array.from({ length: 16 }, (_, i) => (i * 73 + 41) % 256),
];

describe("every intrinsic computes what its name says", () => {
  let exports: Record<string, (...values: Value[]) => number>;
  const memory = new WebAssembly.Memory({ initial: 1 });
  const bytes = new Uint8Array(memory.buffer);
  const executed = onWasm.map(({ name }) => name).filter((name) => !relaxed.has(name));
  const probes = executed.flatMap((name) =>
    immediatesOf.get(name)!.map((immediates, i) => ({ name, immediates, id: `${name}.${i}` })),
  );

  beforeAll(async () => {
    const wat = renderKernelModule(probes.map(({ name, immediates, id }) => probe(name, immediates, id)));
    const module = await WebAssembly.compile(await assemble("intrinsics", wat));
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    exports = instance.exports as typeof exports;
  });

  test.each(executed.filter((name) => !name.startsWith("convert.")))("%s", (name) => {
    const entry = intrinsics.get(name)!;
    const reference = references.get(name);
    expect(reference, `no reference for ${name}`).toBeDefined();
    for (const [i, immediates] of immediatesOf.get(name)!.entries()) {
      for (const [v, first] of vectors.entries()) {
        const inputs = [first, vectors[(v + 3) % vectors.length]!, vectors[(v + 5) % vectors.length]!];
        for (const [j, input] of inputs.entries()) bytes.set(input, BASE + 16 * j);
        const scalars = entry.parameters.map((type, j) => {
          if (type === "i64") return i64s(inputs[j]!)[0]!;
          if (type === "f64") return f64s(inputs[j]!)[0]!;
          return type === "f32" ? f32s(inputs[j]!)[v % 4]! : lanes(inputs[j]!, shapes.i32x4)[v % 4]!;
        });
        // A memory intrinsic's first scalar is an index: 3, into the target.
        if (entry.memory) {
          scalars[0] = 3;
          bytes.set(first, RESULT + 64 + 3);
        }
        const args = entry.parameters.map((type, j) => (type === "v128" ? inputs[j]! : scalars[j]!));
        if (entry.memory) args[0] = first;
        const returned = exports[`${name}.${i}`]!(
          BASE,
          RESULT + 64,
          RESULT,
          ...scalars.filter((_, j) => entry.parameters[j] !== "v128"),
        );
        const expected = reference!(args, immediates);
        if (expected instanceof Uint8Array) {
          const at = entry.result === "void" ? RESULT + 64 + 3 : RESULT;
          const received = bytes.slice(at, at + 16);
          const read = name.startsWith("f32x4")
            ? f32s
            : name.startsWith("f64x2")
              ? f64s
              : (b: Uint8Array) => [...b];
          expect(read(received), `${immediates} of ${inputs}`).toEqual(read(expected));
        } else {
          // WebAssembly has one integer type: a word comes back as i32.
          const received = entry.result === "u32" ? returned >>> 0 : returned;
          expect(received, `${immediates} of ${args}`).toBe(
            typeof expected === "boolean" ? Number(expected) : expected,
          );
        }
      }
    }
  });

  test("conversions", () => {
    const convert = (name: string, x: number) => exports[`convert.${name}.0`]!(0, 0, 0, x);
    expect(convert("i32ToF32", 16777217)).toBe(16777216);
    expect(convert("i32ToF32", -3)).toBe(-3);
    expect(convert("i32ToF64", 16777217)).toBe(16777217);
    expect(convert("f32ToF64", 0.1)).toBe(Math.fround(0.1));
    expect(convert("f64ToF32", 0.1)).toBe(Math.fround(0.1));
    const cases = [1.9, -1.9, 1e20, -1e20, Number.NaN];
    expect(cases.map((x) => convert("f32ToI32", x))).toEqual([1, -1, 2147483647, -2147483648, 0]);
    expect(convert("u32ToF32", -256)).toBe(2 ** 32 - 256);
    expect(convert("i32ToU32", -1)).toBe(-1);
    expect(convert("u32ToI32", 2 ** 31)).toBe(-(2 ** 31));
  });

  test("relaxed SIMD assembles, and computes where the engine has it", async () => {
    const name = "i32x4.relaxedDotI8x16I7x16AddS";
    const wat = renderKernelModule([probe(name, [], "dot")]);
    expect(wat).toContain("i32x4.relaxed_dot_i8x16_i7x16_add_s");
    const binary = await assemble("relaxed", wat);
    if (!WebAssembly.validate(binary)) return;
    const { exports } = await WebAssembly.instantiate(await WebAssembly.compile(binary), { env: { memory } });
    for (const [v, first] of vectors.entries()) {
      // Only 0..127 in the second operand has one meaning on every engine.
      const second = vectors[(v + 3) % vectors.length]!.map((x) => x & 127);
      const third = vectors[(v + 5) % vectors.length]!;
      for (const [j, input] of [first, second, third].entries()) bytes.set(input, BASE + 16 * j);
      (exports.dot as (...values: number[]) => void)(BASE, 0, RESULT);
      const products = lanes(first, shapes.i8x16).map((x, i) => x * second[i]!);
      const expected = lanes(third, shapes.i32x4).map(
        (x, i) => (x + products.slice(4 * i, 4 * i + 4).reduce((sum, y) => sum + y)) | 0,
      );
      expect(lanes(bytes.slice(RESULT, RESULT + 16), shapes.i32x4)).toEqual(expected);
    }
  });
});
