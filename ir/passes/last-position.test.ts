import { expect, test } from "vitest";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { interpret } from "../interpret.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { lastPosition } from "./last-position.ts";

const text = `
  graph @g(batch <= 4, seq <= 16) {
    %x: input f32[batch, seq, 8]
    %y: f32[batch, seq, 8] = exp(%x)
    return hidden = %x, logits = %y
  }`;

test("the output keeps its last position, without the axis", () => {
  const before = parseGraph(text);
  const after = lastPosition(before);
  verifyGraph(after);
  expect(printGraph(after)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 8]
      %y: f32[batch, seq, 8] = exp(%x)
      %y.last: f32[batch, 1, 8] = slice(%y) {axis = 1, start = -1, size = 1}
      %y_1: f32[batch, 8] = reshape(%y.last) {dims = ["batch", 8]}
      return hidden = %x, logits = %y_1
    }
    "
  `);
  const { inputs, parameters } = randomTensors(before, new Random(1), { batch: 2, seq: 2 });
  const tensors = { inputs, parameters };
  const { hidden, logits } = interpret(after, tensors).outputs;
  const full = interpret(before, tensors).outputs.logits!;
  expect(hidden!.type.dims).toEqual([2, 2, 8]);
  expect(logits!.type.dims).toEqual([2, 8]);
  expect([...logits!.data]).toEqual([...full.data.slice(8, 16), ...full.data.slice(24, 32)]);
});

test("an output that is not there is named with those that are", () => {
  expect(() => lastPosition(parseGraph(text), "scores")).toThrow(
    /received: hidden f32\[batch, seq, 8\], logits/,
  );
});
