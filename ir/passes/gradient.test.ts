import { test as propertyTest } from "@fast-check/vitest";
import fc from "fast-check";
import { expect, test } from "vitest";
import { differentiable, withLoss } from "../../test/support/differentiable.ts";
import { graphs } from "../../test/support/random-graph.ts";
import { expectSameMeaning } from "../../test/support/same-meaning.ts";
import { interpret } from "../interpret.ts";
import { runPasses } from "../rewrite.ts";
import { tensor } from "../tensor.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { type GradientOptions, gradient } from "./gradient.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";
import { runForwardPipeline } from "./pipelines.ts";

function after(text: string, options: GradientOptions = { loss: "loss" }): string {
  const graph = gradient(parseGraph(text), options);
  verifyGraph(graph);
  return printGraph(graph).trim();
}

test("the gradient of a linear layer, operands before users", () => {
  expect(
    after(`graph @net(batch <= 4) {
      %x: input f32[batch, 4]
      %w: parameter "fc.weight" f32[2, 4]
      %y: f32[batch, 2] = linear(%x, %w)
      %r: f32[batch] = sum(%y) {axis = 1, keep_dims = false}
      %loss: f32[] = sum(%r) {axis = 0, keep_dims = false}
      return loss = %loss
    }`),
  ).toMatchInlineSnapshot(`
    "graph @net(batch <= 4) {
      %x: input f32[batch, 4]
      %w: parameter "fc.weight" f32[2, 4]
      %y: f32[batch, 2] = linear(%x, %w)
      %r: f32[batch] = sum(%y) {axis = 1, keep_dims = false}
      %loss: f32[] = sum(%r) {axis = 0, keep_dims = false}
      %0: f32[] = constant() {value = 1, dtype = "f32"}
      %1: f32[1] = reshape(%0) {dims = [1]}
      %2: f32[batch] = broadcast(%1) {dims = ["batch"]}
      %3: f32[batch, 1] = reshape(%2) {dims = ["batch", 1]}
      %4: f32[batch, 2] = broadcast(%3) {dims = ["batch", 2]}
      %5: f32[2, 4] = linear_weight_gradient(%4, %x)
      return loss = %loss, fc.weight.gradient = %5
    }"
  `);
});

test("a value that is read twice gets the sum", () => {
  expect(
    after(`graph @net() {
      %p: parameter "p" f32[3]
      %e: f32[3] = exp(%p)
      %y: f32[3] = mul(%e, %p)
      %loss: f32[] = sum(%y) {axis = 0, keep_dims = false}
      return loss = %loss
    }`),
  ).toMatchInlineSnapshot(`
    "graph @net() {
      %p: parameter "p" f32[3]
      %e: f32[3] = exp(%p)
      %y: f32[3] = mul(%e, %p)
      %loss: f32[] = sum(%y) {axis = 0, keep_dims = false}
      %0: f32[] = constant() {value = 1, dtype = "f32"}
      %1: f32[1] = reshape(%0) {dims = [1]}
      %2: f32[3] = broadcast(%1) {dims = [3]}
      %3: f32[3] = mul(%2, %e)
      %4: f32[3] = mul(%2, %p)
      %5: f32[3] = elementwise(%p, %4) {expr = mul(x1, exp(x0))}
      %6: f32[3] = add(%3, %5)
      return loss = %loss, p.gradient = %6
    }"
  `);
});

test("forward and backward read one quantization of the weight and of the activation", () => {
  const graph = gradient(
    parseGraph(`graph @net(batch <= 4) {
      %x: input f32[batch, 8]
      %w: parameter "w" f32[4, 8]
      %v: parameter "v" f32[8, 4]
      %h: f32[batch, 4] = bit_linear(%x, %w) {weight_scale = "tensor", activation = {bits = 8, granularity = "row"}}
      %y: f32[batch, 8] = bit_linear(%h, %v) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
      %r: f32[batch] = sum(%y) {axis = 1, keep_dims = false}
      %loss: f32[] = sum(%r) {axis = 0, keep_dims = false}
      return loss = %loss
    }`),
    { loss: "loss" },
  );
  const text = printGraph(runPasses(graph, [lowerBitLinear, commonSubexpressions], { verify: true }));
  expect(text.match(/= absmean_quantize\(/g)).toHaveLength(2);
  expect(text.match(/= quantize\(/g)).toHaveLength(2);
  expect(text.match(/= ternary_matmul\(/g)).toHaveLength(2);
});

test("only what was asked for is computed, and a parameter without influence has the gradient 0", () => {
  const text = `graph @net() {
    %p: parameter "p" f32[2]
    %q: parameter "q" f32[2]
    %u: parameter "unused" f32[2]
    %y: f32[2] = mul(%p, %q)
    %loss: f32[] = sum(%y) {axis = 0, keep_dims = false}
    %other: f32[2] = exp(%u)
    return loss = %loss, other = %other
  }`;
  const graph = gradient(parseGraph(text), { loss: "loss", parameters: ["q", "unused"] });
  expect(graph.outputs.map(({ name }) => name)).toEqual(["loss", "q.gradient", "unused.gradient"]);
  const value = (...values: number[]) => tensor("f32", [2], values);
  const { outputs } = interpret(graph, {
    inputs: {},
    parameters: { p: value(2, 3), q: value(5, 7), unused: value(1, 1) },
  });
  expect([...outputs["q.gradient"]!.data]).toEqual([2, 3]);
  expect([...outputs["unused.gradient"]!.data]).toEqual([0, 0]);
});

const cached = `graph @net(batch <= 4, seq <= 4, slots <= 4) {
  %q: input f32[batch, seq, 2, 4]
  %p: parameter "p" f32[4]
  %slots: input i32[batch]
  %at: input i32[batch]
  %c: state "k" f32[slots, 8, 1, 4]
  %m: f32[batch, seq, 2, 4] = mul(%q, %p)
  %y: f32[batch, seq, 2, 4] = attention(%m, %c, %c, %slots, %at) {scale = 0.5}
  %s: f32[batch, seq, 2] = sum(%y) {axis = 3, keep_dims = false}
  %t: f32[batch, seq] = sum(%s) {axis = 2, keep_dims = false}
  %u: f32[batch] = sum(%t) {axis = 1, keep_dims = false}
  %loss: f32[] = sum(%u) {axis = 0, keep_dims = false}
  next %c = %c
  return loss = %loss, y = %y
}`;

propertyTest.prop([graphs({ ops: differentiable, size: 20 }), fc.integer()], { numRuns: 60 })(
  "any graph has a gradient, and all passes keep its bits",
  (graph, seed) => {
    const loss = withLoss(graph);
    if (!loss) return;
    const after = gradient(loss, { loss: "loss" });
    verifyGraph(after);
    expectSameMeaning(after, runForwardPipeline(after, { verify: true }), seed);
  },
);

test.each([
  [{ loss: "loss" }, "UNSUPPORTED_OP", /attention/],
  [{ loss: "y" }, "INVALID_GRAPH", /"y"/],
  [{ loss: "z" }, "INVALID_GRAPH", /"z"/],
  [{ loss: "loss", parameters: ["nothing"] }, "INVALID_GRAPH", /"nothing"/],
] as const)("%o is refused", (options, code, message) => {
  expect(() => gradient(parseGraph(cached), options)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});
