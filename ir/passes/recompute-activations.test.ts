import { test as propertyTest } from "@fast-check/vitest";
import fc from "fast-check";
import { expect, test } from "vitest";
import { differentiable, withLoss } from "../../test/support/differentiable.ts";
import { Random } from "../../test/support/random.ts";
import { graphs } from "../../test/support/random-graph.ts";
import { expectSameMeaning } from "../../test/support/same-meaning.ts";
import { type Graph, topologicalOrder } from "../graph.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { gradient } from "./gradient.ts";
import { runForwardPipeline } from "./pipelines.ts";
import { recomputeActivations } from "./recompute-activations.ts";

/** x w0 w1 … summed up; every product is read by the gradient of the next weight. */
function chain(length: number): Graph {
  const weights = Array.from({ length }, (_, i) => `%w${i}: parameter "w${i}" f32[8]`);
  const products = weights.map((_, i) => `%h${i}: f32[8] = mul(${i === 0 ? "%x" : `%h${i - 1}`}, %w${i})`);
  return gradient(
    parseGraph(`graph @chain() {
      %x: input f32[8]
      ${[...weights, ...products].join("\n")}
      %loss: f32[] = sum(%h${length - 1}) {axis = 0, keep_dims = false}
      return loss = %loss
    }`),
    { loss: "loss" },
  );
}

const recompute = (graph: Graph) => recomputeActivations(graph, { loss: "loss" });
const count = (graph: Graph, op: string) => topologicalOrder(graph).filter((node) => node.op === op).length;

test("a segment is computed again once the gradients of all later ones are there", () => {
  const graph = recompute(chain(6));
  verifyGraph(graph);
  expect(printGraph(graph).trim()).toMatchInlineSnapshot(`
    "graph @chain() {
      %x: input f32[8]
      %w0: parameter "w0" f32[8]
      %w1: parameter "w1" f32[8]
      %w2: parameter "w2" f32[8]
      %w3: parameter "w3" f32[8]
      %w4: parameter "w4" f32[8]
      %w5: parameter "w5" f32[8]
      %h0: f32[8] = mul(%x, %w0)
      %h1: f32[8] = mul(%h0, %w1)
      %h2: f32[8] = mul(%h1, %w2)
      %h3: f32[8] = mul(%h2, %w3)
      %h4: f32[8] = mul(%h3, %w4)
      %h5: f32[8] = mul(%h4, %w5)
      %loss: f32[] = sum(%h5) {axis = 0, keep_dims = false}
      %0: f32[] = constant() {value = 1, dtype = "f32"}
      %1: f32[1] = reshape(%0) {dims = [1]}
      %2: f32[8] = broadcast(%1) {dims = [8]}
      %3: f32[8] = mul(%2, %w5)
      %4: f32[8] = mul(%3, %w4)
      %5: f32[8] = mul(%4, %w3)
      %6: f32[8] = mul(%5, %w2)
      %7: f32[8] = mul(%6, %w1)
      %8: f32[8] = mul(%7, %x)
      %9: f32[8] = mul(%2, %h4)
      %10: f32[8] = after(%h1, %9)
      %h2_1: f32[8] = mul(%10, %w2)
      %11: f32[8] = mul(%4, %h2_1)
      %12: f32[8] = mul(%3, %h3)
      %13: f32[8] = after(%x, %11, %12)
      %h0_1: f32[8] = mul(%13, %w0)
      %14: f32[8] = mul(%6, %h0_1)
      %15: f32[8] = mul(%5, %h1)
      return loss = %loss, w0.gradient = %8, w1.gradient = %14, w2.gradient = %15, w3.gradient = %11, w4.gradient = %12, w5.gradient = %9
    }"
  `);
});

test("a chain of n keeps about sqrt(n) values, and each of the others is computed at most once more", () => {
  for (const n of [25, 100]) {
    const graph = recompute(chain(n));
    const again = count(graph, "mul") - count(chain(n), "mul");
    expect(again).toBeGreaterThan(n - 4 * Math.sqrt(n));
    expect(again).toBeLessThan(n);
    expect(count(graph, "after")).toBeLessThan(2 * Math.sqrt(n));
    expect(count(graph, "after")).toBeGreaterThan(Math.sqrt(n) / 2);
    const lowered = runForwardPipeline(graph, { verify: true });
    expect(count(lowered, "after")).toBe(count(graph, "after"));
    expectSameMeaning(chain(n), lowered, n);
  }
});

test.each([
  ["a graph without gradients", parseGraph("graph @g() {\n%x: input f32[]\nreturn loss = %x\n}")],
  ["what is too short to gain", chain(1)],
])("%s stays as it is", (_, graph) => {
  expect(printGraph(recompute(graph))).toBe(printGraph(graph));
});

propertyTest.prop([graphs({ ops: differentiable, size: 30 }), fc.integer()], { numRuns: 60 })(
  "any graph with gradients keeps its bits, wherever it is cut",
  (graph, seed) => {
    const loss = withLoss(graph);
    if (!loss) return;
    const before = gradient(loss, { loss: "loss" });
    const random = new Random(seed);
    const cuts = topologicalOrder(loss).flatMap((_, i) => (random.chance(0.3) ? [i] : []));
    const after = recomputeActivations(before, { loss: "loss", cuts });
    verifyGraph(after);
    expectSameMeaning(before, runForwardPipeline(after, { verify: true }), seed);
  },
);
