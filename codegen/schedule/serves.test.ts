import { fc, test as property } from "@fast-check/vitest";
import { expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { Random } from "../../test/support/random.ts";
import { exactOps, graphs, randomTensors } from "../../test/support/random-graph.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { expectSameBits } from "../../test/support/same-bits.ts";

test("a step is for the outputs that follow from it, or for every call that a state follows from", async () => {
  const graph = parseGraph(`graph @g(batch <= 2) {
    %x: input f32[batch, 8]
    %s: state "s" f32[batch, 8]
    %n: f32[batch, 8] = add(%x, %s)
    %a: f32[batch, 1] = max_reduce(%n) {axis = 1, keep_dims = true}
    %b: f32[batch, 8] = softmax(%n)
    %c: f32[batch, 8] = relu(%b)
    next %s = %n
    return a = %a, b = %b, c = %c
  }`);
  const program = await WasmProgram.compile({ run: graph });
  expect(program.steps("run").map(({ label, serves }) => [label, serves])).toEqual([
    ["add %n", undefined],
    ["max_reduce %a", ["a"]],
    ["softmax %b", ["b", "c"]],
    ["relu %c", ["c"]],
  ]);
});

const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;

property.prop([graphs({ ops: exactOps, exact: true, size: 16, castTo }), fc.integer()], { numRuns: 60 })(
  "the outputs asked for and every state are right, whatever else is left out",
  async (graph, seed) => {
    const random = new Random(seed);
    const tensors = randomTensors(graph, random);
    const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
    const expected = interpret(graph, given);
    const asked = Object.keys(expected.outputs).filter(() => random.chance(0.4));
    const program = await WasmProgram.compile({ run: graph });
    const received = program.run("run", given, { outputs: asked });
    for (const name of asked) expectSameBits(received.outputs[name]!, expected.outputs[name]!, name);
    for (const [name, state] of Object.entries(expected.states)) {
      expectSameBits(received.states[name]!, state, name);
    }
  },
);
