import { expect, test } from "vitest";
import { Random } from "../../test/support/random.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { interpret } from "../interpret.ts";
import { tensor } from "../tensor.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { wholeSequences } from "./whole-sequences.ts";

const before = `graph @lm(batch <= 4, seq <= 4, slots <= 4) {
  %q: input f32[batch, seq, 2, 4]
  %k: input f32[batch, seq, 1, 4]
  %v: input f32[batch, seq, 1, 4]
  %cos: parameter "cos" f32[8, 2]
  %sin: parameter "sin" f32[8, 2]
  %slots: input i32[batch]
  %at: input i32[batch]
  %c: state "k" f32[slots, 8, 1, 4]
  %d: state "v" f32[slots, 8, 1, 4]
  %turned: f32[batch, seq, 1, 4] = rope(%k, %cos, %sin, %at)
  %kc: f32[slots, 8, 1, 4] = cache_write(%c, %turned, %slots, %at)
  %vc: f32[slots, 8, 1, 4] = cache_write(%d, %v, %slots, %at)
  %y: f32[batch, seq, 2, 4] = attention(%q, %kc, %vc, %slots, %at) {scale = 0.5}
  next %c = %kc
  next %d = %vc
  return y = %y
}`;

test("caches and the inputs that place sequences in them are gone", () => {
  const after = wholeSequences.run(parseGraph(before));
  verifyGraph(after);
  expect(printGraph(after).trim()).toMatchInlineSnapshot(`
    "graph @lm(batch <= 4, seq <= 4) {
      %q: input f32[batch, seq, 2, 4]
      %k: input f32[batch, seq, 1, 4]
      %v: input f32[batch, seq, 1, 4]
      %cos: parameter "cos" f32[8, 2]
      %sin: parameter "sin" f32[8, 2]
      %0: i32[] = constant() {value = 0, dtype = "i32"}
      %1: i32[batch] = broadcast(%0) {dims = ["batch"]}
      %turned: f32[batch, seq, 1, 4] = rope(%k, %cos, %sin, %1)
      %y: f32[batch, seq, 2, 4] = attention(%q, %turned, %v) {scale = 0.5}
      return y = %y
    }"
  `);
});

test("new sequences attend to the same keys with and without caches", () => {
  const random = new Random(1);
  const floats = (...dims: number[]) =>
    tensor(
      "f32",
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.normal()),
    );
  const inputs = { q: floats(3, 4, 2, 4), k: floats(3, 4, 1, 4), v: floats(3, 4, 1, 4) };
  const parameters = { cos: floats(8, 2), sin: floats(8, 2) };
  const places = { slots: tensor("i32", [3], [2, 0, 3]), at: tensor("i32", [3], [0, 0, 0]) };
  const graph = parseGraph(before);
  const cached = interpret(graph, { inputs: { ...inputs, ...places }, parameters, symbols: { slots: 4 } });
  const whole = interpret(wholeSequences.run(graph), { inputs, parameters });
  expect(relativeL2(whole.outputs.y!, cached.outputs.y!)).toBe(0);
});
