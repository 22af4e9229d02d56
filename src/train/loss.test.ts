import { describe, expect, test } from "vitest";
import { GraphBuilder } from "../../ir/builder.ts";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { dense } from "../../ir/types.ts";
import { verifyGraph } from "../../ir/verify.ts";
import { crossEntropyLoss, distillationLoss, squaredErrorLoss } from "./index.ts";

const rows = [
  [0.5, -1, 2],
  [3, 3, -4],
  [0, 0.25, 0.125],
];

function graphOf(output: string): Graph {
  const builder = new GraphBuilder("model");
  const batch = builder.symbol("batch", { max: 4 });
  builder.output(output, builder.input("x", dense("f32", [batch, 3])));
  return builder.build();
}

function lossOf(graph: Graph, inputs: Record<string, Tensor>): number {
  verifyGraph(graph);
  const x = tensor("f32", [3, 3], rows.flat());
  return interpret(graph, { inputs: { x, ...inputs }, parameters: {} }).outputs.loss!.data[0]!;
}

function logSoftmax(row: readonly number[], temperature = 1): number[] {
  const scaled = row.map((x) => x / temperature);
  const sum = scaled.reduce((total, x) => total + Math.exp(x), 0);
  return scaled.map((x) => x - Math.log(sum));
}

describe("mean cross-entropy", () => {
  const of = (targets: readonly number[], ignoreIndex?: number) =>
    lossOf(crossEntropyLoss(graphOf("logits"), ignoreIndex === undefined ? {} : { ignoreIndex }), {
      targets: tensor("i32", [3], targets),
    });
  const own = (row: number, target: number) => -logSoftmax(rows[row]!)[target]!;

  test("over all rows", () => expect(of([2, 0, 1])).toBeCloseTo((own(0, 2) + own(1, 0) + own(2, 1)) / 3, 5));
  test("but those with the ignored target", () =>
    expect(of([2, -100, 1])).toBeCloseTo((own(0, 2) + own(2, 1)) / 2, 5));
  test("with any target as the ignored one", () =>
    expect(of([2, 0, 1], 0)).toBeCloseTo((own(0, 2) + own(2, 1)) / 2, 5));
  test("is 0 where all are ignored", () => expect(of([-100, -100, -100])).toBe(0));
  test("refuses a target that is no class", () =>
    expect(() => of([3, 0, 0])).toThrow(expect.objectContaining({ code: "TOKEN_OUT_OF_RANGE" })));
});

test("mean squared error", () => {
  const targets = tensor("f32", [3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
  const expected = rows.flat().reduce((sum, x, i) => sum + (x - targets.data[i]!) ** 2, 0) / 9;
  expect(lossOf(squaredErrorLoss(graphOf("y"), { output: "y" }), { targets })).toBeCloseTo(expected, 5);
});

test.each([1, 2.5])("divergence from a teacher at temperature %d", (temperature) => {
  const teacher = rows.map((row) => row.map((x, i) => x * 0.5 + i));
  const expected =
    rows.reduce((sum, row, r) => {
      const [t, s] = [logSoftmax(teacher[r]!, temperature), logSoftmax(row, temperature)];
      return sum + t.reduce((inner, x, i) => inner + Math.exp(x) * (x - s[i]!), 0);
    }, 0) *
    (temperature ** 2 / 3);
  const inputs = { teacher_logits: tensor("f32", [3, 3], teacher.flat()) };
  expect(lossOf(distillationLoss(graphOf("logits"), { temperature }), inputs)).toBeCloseTo(expected, 5);
});

test.each([["logits", { code: "INVALID_GRAPH", message: expect.stringContaining('"logits"') }]] as const)(
  "an output there is not: %s",
  (logits, error) => {
    expect(() => crossEntropyLoss(graphOf("y"), { logits })).toThrow(expect.objectContaining(error));
  },
);

test("an input that the model has itself", () => {
  const once = squaredErrorLoss(graphOf("y"), { output: "y" });
  const again = { ...once, outputs: [{ name: "y", value: once.inputs[0]! }] };
  expect(() => squaredErrorLoss(again, { output: "y" })).toThrow(
    expect.objectContaining({ code: "INVALID_GRAPH" }),
  );
});
