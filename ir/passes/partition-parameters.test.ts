import { expect, test } from "vitest";
import { parseGraph } from "../text/parse.ts";
import { isBuildTime, partitionParameters } from "./partition-parameters.ts";

test("build time is what reads parameters alone; the boundary is what the artifact stores", () => {
  const graph = parseGraph(`
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %v: parameter "v" f32[5, 5]
      %s: state "s" f32[batch, 5]
      %t: f32[5, 6] ternary(tensor) = absmean_quantize(%w) {scale = "tensor"}
      %c: f32[5] = weight_scale(%t)
      %two: f32[] = constant() {value = 2, dtype = "f32"}
      %k: f32[5] = mul(%c, %two)
      %y: f32[batch, 5] = linear(%x, %t)
      %z: f32[batch, 5] = mul(%y, %k)
      %u: f32[batch, 5] = linear(%z, %v)
      %n: f32[batch, 5] = neg(%s)
      %b: f32[batch, 5] = broadcast(%c) {dims = ["batch", 5]}
      next %s = %n
      return u = %u, b = %b
    }`);
  const { buildTime, runTime, weights } = partitionParameters(graph);
  expect(buildTime.map((node) => node.op)).toEqual(["absmean_quantize", "weight_scale", "constant", "mul"]);
  expect(runTime.map((node) => node.op)).toEqual(["linear", "mul", "linear", "broadcast", "neg"]);
  expect(weights.map((value) => value.name)).toEqual(["t", "k", "v", "c"]);
  expect(graph.inputs.some(isBuildTime)).toBe(false);
  expect(graph.parameters.every(isBuildTime)).toBe(true);
});
