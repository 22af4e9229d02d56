import { describe, expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { runWasm } from "../../test/support/run-wasm.ts";
import { bitsOf, randomTensors } from "../../test/support/same-meaning.ts";

/** Expects the WASM target to give the interpreter's bits, however a step is split. */
async function expectSameBits(text: string): Promise<void> {
  const graph = parseGraph(text);
  for (const seed of [1, 2]) {
    const tensors = randomTensors(graph, seed);
    const expected = interpret(graph, tensors);
    for (const threads of [1, 3]) {
      const received = await runWasm(graph, tensors, { threads });
      for (const [name, { data, type }] of Object.entries(expected.outputs)) {
        expect(received.outputs[name]!.type).toEqual(type);
        expect(bitsOf(received.outputs[name]!.data), name).toEqual(bitsOf(data));
      }
    }
  }
}

describe("elementwise kernels", () => {
  test("one contiguous axis with a tail", () =>
    expectSameBits(`graph @g(batch <= 3) {
      %x: input f32[batch, 9]
      %y: input f32[batch, 9]
      %z: f32[batch, 9] = elementwise(%x, %y) {expr = sub(mul(relu2(x0), x1), div(x0, 3))}
      return z = %z
    }`));
});
