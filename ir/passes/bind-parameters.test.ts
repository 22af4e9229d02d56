import { expect, test } from "vitest";
import type { Graph } from "../graph.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { verifyGraph } from "../verify.ts";
import { type BindOptions, bindParameters, type StoredParameter } from "./bind-parameters.ts";

const graph = parseGraph(`
  graph @lm(batch <= 4) {
    %ids: input i32[batch]
    %embed: parameter "embed.weight" f32[9, 6]
    %norm: parameter "norm.weight" f32[6]
    %q: parameter "q.weight" f32[4, 6]
    %o: parameter "o.weight" f32[6, 4]
    %unused: parameter "unused.weight" f32[6]
    %e: f32[batch, 6] = embedding(%embed, %ids)
    %n: f32[batch, 6] = rms_norm(%e, %norm) {eps = 0.00001}
    %a: f32[batch, 4] = bit_linear(%n, %q) {weight_scale = "tensor", activation = null}
    %b: f32[batch, 6] = bit_linear(%a, %o) {weight_scale = "tensor", activation = null}
    %c: f32[batch, 6] = rms_norm(%b, %norm) {eps = 0.00001}
    %y: f32[batch, 9] = linear(%c, %embed)
    return logits = %y
  }`);

const bf16 = (...dims: number[]): StoredParameter => ({ dims, form: { kind: "dense", dtype: "bf16" } });
const checkpoint: Record<string, StoredParameter> = {
  "embed.weight": bf16(9, 6),
  "norm.weight": bf16(6),
  "q.weight": { dims: [4, 6], form: { kind: "ternary", scale: "row" } },
  "o.weight": bf16(6, 4),
};

function bound(stored = checkpoint, options?: BindOptions): Graph {
  const result = bindParameters(graph, (path) => stored[path], options);
  verifyGraph(result);
  return result;
}

test("weights keep their storage, norms and latent weights are widened once, ternary stays ternary", () => {
  expect(printGraph(bound())).toMatchInlineSnapshot(`
    "graph @lm(batch <= 4) {
      %ids: input i32[batch]
      %embed: parameter "embed.weight" bf16[9, 6]
      %norm: parameter "norm.weight" bf16[6]
      %q: parameter "q.weight" f32[4, 6] ternary(row)
      %o: parameter "o.weight" bf16[6, 4]
      %e: f32[batch, 6] = embedding(%embed, %ids)
      %0: f32[6] = cast(%norm) {dtype = "f32"}
      %n: f32[batch, 6] = rms_norm(%e, %0) {eps = 0.00001}
      %a: f32[batch, 4] = bit_linear(%n, %q) {weight_scale = "row", activation = null}
      %1: f32[6, 4] = cast(%o) {dtype = "f32"}
      %b: f32[batch, 6] = bit_linear(%a, %1) {weight_scale = "tensor", activation = null}
      %c: f32[batch, 6] = rms_norm(%b, %0) {eps = 0.00001}
      %y: f32[batch, 9] = linear(%c, %embed)
      return logits = %y
    }
    "
  `);
});

test("head = int8 quantizes the tied weight once", () => {
  const text = printGraph(bound(checkpoint, { head: "int8" }));
  expect(text.split("\n").filter((line) => /embed|int8/.test(line))).toMatchInlineSnapshot(`
    [
      "  %embed: parameter "embed.weight" bf16[9, 6]",
      "  %0: f32[9, 6] int8(row) = quantize_int8(%embed)",
      "  %e: f32[batch, 6] = embedding(%0, %ids)",
    ]
  `);
});

test("head = f16 casts, and leaves a weight that already is", () => {
  expect(printGraph(bound(checkpoint, { head: "f16" }))).toContain(
    `f16[9, 6] = cast(%embed) {dtype = "f16"}`,
  );
  expect(printGraph(bound(checkpoint, { head: "bf16" }))).toBe(printGraph(bound()));
});

test("a ternary head keeps its codes", () => {
  const stored = {
    ...checkpoint,
    "embed.weight": { dims: [9, 6], form: { kind: "ternary", scale: "tensor" } as const },
  };
  expect(printGraph(bound(stored, { head: "int8" }))).toMatch(
    /%embed: parameter "embed.weight" f32\[9, 6\] ternary/,
  );
});

test("missing tensors, other shapes and misplaced codes are named", () => {
  const { "norm.weight": _, ...missing } = checkpoint;
  expect(() => bound(missing)).toThrow(/no tensor for parameter "norm.weight"[\s\S]*MISSING_TENSOR/);
  expect(() => bound({ ...checkpoint, "q.weight": bf16(6, 4) })).toThrow(
    /parameter "q.weight" has another shape[\s\S]*expected: \[4, 6\][\s\S]*received: \[6, 4\]/,
  );
  const ternaryNorm = { dims: [6], form: { kind: "ternary", scale: "tensor" } as const };
  expect(() => bound({ ...checkpoint, "norm.weight": ternaryNorm })).toThrow(
    /"norm.weight" is stored ternary[\s\S]*rms_norm reads them/,
  );
});

test("a parameter that is itself an output is given as f32", () => {
  const direct = parseGraph(`
    graph @g() {
      %w: parameter "w" f32[4, 6]
      return w = %w
    }`);
  const result = bindParameters(direct, () => bf16(4, 6));
  verifyGraph(result);
  expect(printGraph(result)).toMatchInlineSnapshot(`
    "graph @g() {
      %w: parameter "w" bf16[4, 6]
      %0: f32[4, 6] = cast(%w) {dtype = "f32"}
      return w = %0
    }
    "
  `);
});
