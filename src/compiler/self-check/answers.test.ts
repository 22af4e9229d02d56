import { expect, test } from "vitest";
import type { TargetName } from "../../../codegen/schedule/plan.ts";
import { type ConcreteType, toFloat32 } from "../../../ir/tensor.ts";
import { parseGraph } from "../../../ir/text/parse.ts";
import { Random } from "../../../test/support/random.ts";
import { randomTensor } from "../../../test/support/random-graph.ts";
import { answers } from "./answers.ts";

const inputGradient = (encoding: string) => `graph @g() {
  %g: input f32[4, 8]
  %w: parameter "w" f32[8, 64] ${encoding}
  %y: f32[4, 64] = linear_input_gradient(%g, %w)
  return "y" = %y
}`;
const weightGradient = (type: "f32" | "i8", d: "" | ", %d") => `graph @g() {
  %g: input f32[4, 8]
  %x: input ${type}[4, 64]
  ${d && "%d: input f32[4, 1]"}
  %y: f32[8, 64] = linear_weight_gradient(%g, %x${d})
  return "y" = %y
}`;

/** The largest tolerance, relative to the largest answer. */
function tolerance(text: string, target: TargetName): number {
  const graph = parseGraph(text);
  const random = new Random(1);
  const leaves = [...graph.inputs, ...graph.parameters];
  const operands = new Map(leaves.map((leaf) => [leaf, randomTensor(leaf.type as ConcreteType, random)]));
  const [answer] = answers({ graph }, target, operands, new Map());
  const largest = toFloat32(answer!.tensor).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Math.max(...answer!.tolerance) / largest;
}

test.each([
  ["ternary codes", inputGradient("ternary(row)"), true],
  ["codes of 8 bits", inputGradient("int8(row)"), true],
  ["ternary codes with scales a group", inputGradient("ternary(group 16)"), false],
  ["f32 weights", inputGradient(""), false],
  ["quantized activations", weightGradient("i8", ", %d"), true],
  ["f32 activations", weightGradient("f32", ""), false],
])("gradients with %s may be off as fixed point is where they are computed so", (_, text, fixed) => {
  if (fixed) expect(tolerance(text, "wasm")).toBeGreaterThan(2 ** -13);
  else expect(tolerance(text, "wasm")).toBeLessThan(2 ** -16);
  for (const target of ["webgpu", "cuda"] as const) expect(tolerance(text, target)).toBeLessThan(2 ** -16);
});
