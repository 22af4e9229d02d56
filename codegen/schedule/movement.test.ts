import { describe, expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { expectSameBits } from "../../test/support/same-bits.ts";

/** Expects the interpreter's bits; gives the kernels of the steps. */
async function kernelsOf(text: string, inputs: Readonly<Record<string, Tensor>>): Promise<readonly string[]> {
  const graph = parseGraph(text);
  const program = await WasmProgram.compile({ run: graph });
  const expected = interpret(graph, { inputs, parameters: {} }).outputs;
  for (const threads of [1, 3]) {
    const received = program.run("run", { inputs, parameters: {} }, { threads }).outputs;
    for (const [name, want] of Object.entries(expected)) expectSameBits(received[name]!, want, name);
  }
  return program.steps("run").map((step) => step.kernel);
}

const ramp = (dims: readonly number[], dtype: "f32" | "i8" | "i32" = "f32") => {
  const size = dims.reduce((a, b) => a * b, 1);
  return tensor(
    dtype,
    dims,
    Array.from({ length: size }, (_, i) => (i * 37) % 101),
  );
};

async function expectSame(text: string, inputs: Readonly<Record<string, Tensor>>): Promise<void> {
  await kernelsOf(text, inputs);
}

describe("movement kernels", () => {
  test("a transposed output is copied in order", async () => {
    const kernels = await kernelsOf(
      `graph @g(batch <= 3) {
        %x: input f32[batch, 5, 6]
        %y: f32[6, batch, 5] = transpose(%x) {permutation = [2, 0, 1]}
        return y = %y
      }`,
      { x: ramp([3, 5, 6]) },
    );
    expect(kernels).toEqual(["copy_f32"]);
  });

  test("the last row of a symbolic axis", () =>
    expectSame(
      `graph @g(batch <= 3, seq <= 9) {
        %x: input f32[batch, seq, 6]
        %y: f32[batch, 1, 6] = slice(%x) {axis = 1, start = -1, size = 1}
        return y = %y
      }`,
      { x: ramp([3, 7, 6]) },
    ));

  test("a range of a symbolic axis bounds the symbol from below", async () => {
    const text = (start: number) => `graph @g(batch <= 3, seq <= 9) {
      %x: input f32[batch, seq, 6]
      %y: f32[batch, 2, 6] = slice(%x) {axis = 1, start = ${start}, size = 2}
      %z: f32[batch, 1, 6] = slice(%x) {axis = 1, start = -3, size = 1}
      return y = %y, z = %z
    }`;
    await expectSame(text(5), { x: ramp([3, 7, 6]) });
    const { plan } = await WasmProgram.compile({ run: parseGraph(text(5)) });
    expect(plan.entries.run!.minimums).toEqual({ seq: 7 });
    await expect(WasmProgram.compile({ run: parseGraph(text(8)) })).rejects.toMatchObject({
      code: "INVALID_ATTRIBUTE",
      expected: "seq >= 10",
      received: "seq <= 9",
    });
  });

  test("concatenation along every axis", () =>
    expectSame(
      `graph @g(batch <= 3) {
        %x: input i32[2, batch, 6]
        %y: input i32[2, batch, 1]
        %z: i32[2, batch, 13] = concat(%x, %y, %x) {axis = -1}
        %w: i32[4, batch, 6] = concat(%x, %x) {axis = 0}
        return z = %z, w = %w
      }`,
      { x: ramp([2, 2, 6], "i32"), y: ramp([2, 2, 1], "i32") },
    ));

  test("codes from outside are padded for the matmul that reads them", async () => {
    const graph = parseGraph(`graph @g(batch <= 3) {
      %q: input i8[batch, 70]
      %s: input i32[batch, 1]
      %w: parameter "w" f32[5, 70] ternary(row)
      %y: i32[batch, 5] = ternary_matmul(%q, %s, %w)
      return y = %y
    }`);
    const program = await WasmProgram.compile({ run: graph });
    const q = ramp([3, 70], "i8");
    const sums = [0, 1, 2].map((row) =>
      Array.from(q.data)
        .slice(row * 70, row * 70 + 70)
        .reduce((a, b) => a + b, 0),
    );
    const w: Tensor = {
      type: { dtype: "f32", dims: [5, 70], encoding: { kind: "ternary", scale: "row" } },
      data: Int8Array.from({ length: 350 }, (_, i) => (i % 3) - 1),
      scales: new Float32Array(5).fill(1),
    };
    const given = { inputs: { q, s: tensor("i32", [3, 1], sums) }, parameters: { w } };
    const received = program.run("run", given, { threads: 2 });
    expectSameBits(received.outputs.y!, interpret(graph, given).outputs.y!);
  });

  test("a column of a quantizer's codes is gathered into a row", async () => {
    const graph = parseGraph(`graph @g() {
      %x: input f32[64, 64]
      %w: parameter "w" f32[4, 64] ternary(row)
      %q: i8[64, 64], %d: f32[64, 1], %t: i32[64, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %p: i8[64, 64] = transpose(%q) {permutation = [1, 0]}
      %r: i8[1, 64] = slice(%p) {axis = 0, start = 0, size = 1}
      %f: f32[1, 64] = cast(%r) {dtype = "f32"}
      %a: f32[1, 1] = sum(%f) {axis = 1, keep_dims = true}
      %s: i32[1, 1] = cast(%a) {dtype = "i32"}
      %y: i32[1, 4] = ternary_matmul(%r, %s, %w)
      return y = %y
    }`);
    const w: Tensor = {
      type: { dtype: "f32", dims: [4, 64], encoding: { kind: "ternary", scale: "row" } },
      data: Int8Array.from({ length: 256 }, (_, i) => (i % 3) - 1),
      scales: new Float32Array(4).fill(1),
    };
    const given = { inputs: { x: ramp([64, 64]) }, parameters: { w } };
    const program = await WasmProgram.compile({ run: graph });
    expectSameBits(program.run("run", given).outputs.y!, interpret(graph, given).outputs.y!);
  });
});

describe("casts", () => {
  const values = [
    0,
    -0,
    1,
    -1,
    0.5,
    1.5,
    2.5,
    -2.5,
    127.9,
    -128.9,
    300,
    -300,
    65504,
    65519,
    65520,
    70000,
    1e-8,
    6e-8,
    3e-5,
    6.1e-5,
    3e9,
    -3e9,
    5e9,
    1e38,
    1e39,
    Infinity,
    -Infinity,
    Number.NaN,
    1.0039,
    1.0117,
    2049,
    2051,
    16777217,
  ];
  const names = ["f16", "bf16", "i8", "u8", "i32", "u32"] as const;

  test.each(names)("f32 to %s and back", (to) =>
    expectSame(
      `graph @g() {
        %x: input f32[${values.length}]
        %y: ${to}[${values.length}] = cast(%x) {dtype = "${to}"}
        %z: f32[${values.length}] = cast(%y) {dtype = "f32"}
        return y = %y, z = %z
      }`,
      { x: tensor("f32", [values.length], values) },
    ),
  );

  test.each(names)("u32 and i8 to %s", (to) =>
    expectSame(
      `graph @g() {
        %x: input u32[5]
        %c: input i8[5]
        %y: ${to}[5] = cast(%x) {dtype = "${to}"}
        %z: ${to}[5] = cast(%c) {dtype = "${to}"}
        return y = %y, z = %z
      }`,
      {
        x: tensor("u32", [5], [0, 1, 255, 2 ** 31, 2 ** 32 - 1]),
        c: tensor("i8", [5], [-128, -1, 0, 1, 127]),
      },
    ),
  );

  test("bool is whether an element is not zero", () =>
    expectSame(
      `graph @g() {
        %x: input f32[5]
        %b: bool[5] = cast(%x) {dtype = "bool"}
        %y: i32[5] = cast(%b) {dtype = "i32"}
        return y = %y
      }`,
      { x: tensor("f32", [5], [0, -0, 0.1, Number.NaN, -3]) },
    ));

  test("every f16 widens exactly", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    return expectSame(
      `graph @g() {
        %x: input f16[65536]
        %y: f32[65536] = cast(%x) {dtype = "f32"}
        return y = %y
      }`,
      { x: { type: { dtype: "f16", dims: [65536] }, data: halves } },
    );
  });
});
