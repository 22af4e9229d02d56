import { describe, expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { expectSameBits } from "../../test/support/same-bits.ts";

/** Expects the target to give the interpreter's bits for every batch, however a step is split; gives its kernels. */
async function sameBits(text: string): Promise<string[]> {
  const graph = parseGraph(text);
  const program = await WasmProgram.compile({ run: graph });
  for (const batch of [1, 2, 3]) {
    const tensors = randomTensors(graph, new Random(batch), { batch });
    const given = { ...tensors, symbols: { batch } };
    const expected = interpret(graph, given);
    for (const threads of [1, 2, 5]) {
      const received = program.run("run", given, { threads });
      for (const [name, tensor] of Object.entries(expected.outputs)) {
        expectSameBits(received.outputs[name]!, tensor, `${name} with batch ${batch}`);
      }
    }
  }
  return program.kernels.map((kernel) => kernel.name);
}

describe("elementwise kernels", () => {
  test.each([1, 3, 4, 5, 63, 64, 65])("one contiguous axis of %i a row", async (width) => {
    await sameBits(`graph @g(batch <= 3) {
      %x: input f32[batch, ${width}]
      %y: input f32[batch, ${width}]
      %z: f32[batch, ${width}] = elementwise(%x, %y) {expr = sub(mul(relu2(x0), x1), div(x0, 3))}
      return z = %z
    }`);
  });

  test("operands broadcast along rows, columns and in the middle", async () => {
    await sameBits(`graph @g(batch <= 3) {
      %x: input f32[batch, 5, 7]
      %row: input f32[batch, 1, 1]
      %column: input f32[7]
      %middle: input f32[batch, 1, 7]
      %scalar: input f32[]
      %z: f32[batch, 5, 7] = elementwise(%x, %row, %column, %middle, %scalar) {expr = add(mul(add(mul(x0, x1), x2), x3), x4)}
      return z = %z
    }`);
  });

  test("transposed and sliced operands are read where they lie", async () => {
    const kernels = await sameBits(`graph @g(batch <= 3) {
      %x: input f32[batch, 6, 10]
      %y: input f32[6, batch, 4]
      %s: f32[batch, 6, 4] = slice(%x) {axis = 2, start = 3, size = 4}
      %t: f32[batch, 6, 4] = transpose(%y) {permutation = [1, 0, 2]}
      %z: f32[batch, 6, 4] = add(%s, %t)
      return z = %z
    }`);
    expect(kernels).toEqual(["elementwise_add"]);
  });

  test("a repeated subexpression is computed once", async () => {
    await sameBits(`graph @g(batch <= 3) {
      %x: input f32[batch, 9]
      %z: f32[batch, 9] = elementwise(%x) {expr = mul(sub(x0, 0.5), sub(x0, 0.5))}
      return z = %z
    }`);
  });

  test("integers wrap", async () => {
    const kernels = await sameBits(`graph @g(batch <= 3) {
      %x: input i32[batch, 9]
      %y: input i32[9]
      %z: i32[batch, 9] = mul(%x, %y)
      %w: i32[batch, 9] = mul(%z, %z)
      %v: i32[batch, 9] = mul(%w, %w)
      %m: i32[batch, 9] = max(%v, %x)
      %f: f32[batch, 9] = to_f32(%m)
      return f = %f
    }`);
    expect(kernels).toContain("elementwise_mul_i32");
  });

  test("shapes that differ in lengths only share a kernel", async () => {
    const kernels = await sameBits(`graph @g(batch <= 3) {
      %a: input f32[batch, 9]
      %b: input f32[batch, 20]
      %x: f32[batch, 9] = relu(%a)
      %y: f32[batch, 20] = relu(%b)
      return x = %x, y = %y
    }`);
    expect(kernels).toEqual(["elementwise_relu"]);
  });
});
