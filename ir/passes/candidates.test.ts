import { expect, test } from "vitest";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { addCandidates } from "./candidates.ts";

const graph = (outputs: string) =>
  parseGraph(`graph @g(batch <= 2) {
    %y: input f32[batch, 100]
    return ${outputs}
  }`);

test("the largest logits are outputs, too", () => {
  const after = addCandidates(graph("logits = %y"), 65);
  verifyGraph(after);
  expect(printGraph(after)).toMatchInlineSnapshot(`
    "graph @g(batch <= 2) {
      %y: input f32[batch, 100]
      %bestLogit: f32[batch, 1], %bestToken: i32[batch, 1] = top_k(%y) {k = 1}
      %topLogits: f32[batch, 65], %topTokens: i32[batch, 65] = top_k(%y) {k = 65}
      return logits = %y, bestLogit = %bestLogit, bestToken = %bestToken, topLogits = %topLogits, topTokens = %topTokens
    }
    "
  `);
});

test("there are no more candidates than logits", () => {
  const { outputs } = addCandidates(graph("logits = %y"), 101);
  expect(outputs.find(({ name }) => name === "topTokens")!.value.type.dims).toEqual(["batch", 100]);
});

test("without logits there is nothing to choose from", () => {
  expect(() => addCandidates(graph("y = %y"), 65)).toThrow(/INVALID_GRAPH[\s\S]*received: y/);
});
