import { expect, test } from "vitest";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { interpret } from "../interpret.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { specialize } from "./specialize.ts";

const text = `
  graph @g(batch <= 4, seq <= 16) {
    %x: input f32[batch, seq, 8]
    %s: state "s" f32[batch, seq, 8]
    %y: f32[batch, seq, 2, 4] = reshape(%x) {dims = ["batch", "seq", 2, 4]}
    %z: f32[batch, seq, 2, 4] = exp(%y)
    %n: f32[batch, seq, 8] = add(%x, %s)
    next %s = %n
    return z = %z
  }`;

test("binds a symbol everywhere: leaves, results and the dims of reshapes", () => {
  const before = parseGraph(text);
  const after = specialize(before, { seq: 2 });
  verifyGraph(after);
  expect(printGraph(after)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 2, 8]
      %s: state "s" f32[batch, 2, 8]
      %y: f32[batch, 2, 2, 4] = reshape(%x) {dims = ["batch", 2, 2, 4]}
      %z: f32[batch, 2, 2, 4] = exp(%y)
      %n: f32[batch, 2, 8] = add(%x, %s)
      next %s = %n
      return z = %z
    }
    "
  `);
  const { inputs, parameters, states } = randomTensors(before, new Random(1), { seq: 2 });
  const tensors = { inputs, parameters, states };
  expect(interpret(after, tensors).outputs).toEqual(interpret(before, tensors).outputs);
  expect(interpret(after, tensors).states).toEqual(interpret(before, tensors).states);
});

test("a symbol the graph lacks, or a value beyond its bound, is refused", () => {
  const graph = parseGraph(text);
  expect(() => specialize(graph, { sequence: 1 })).toThrow(/expected: one of batch, seq/);
  for (const seq of [0, 17, 1.5])
    expect(() => specialize(graph, { seq })).toThrow(/expected: 1 <= seq <= 16/);
});
