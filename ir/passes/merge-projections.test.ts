import { test } from "@fast-check/vitest";
import fc from "fast-check";
import { expect } from "vitest";
import { expectSameMeaning, textAfter } from "../../test/support/same-meaning.ts";
import { GraphBuilder } from "../builder.ts";
import { type Graph, topologicalOrder } from "../graph.ts";
import { runPasses } from "../rewrite.ts";
import { dense, encoded } from "../types.ts";
import { fuseScale } from "./fuse-scale.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";
import { mergeProjections } from "./merge-projections.ts";
import { shareQuantize } from "./share-quantize.ts";

const prepared = [lowerBitLinear, shareQuantize, fuseScale, mergeProjections];
const quantized = `activation = {bits = 8, granularity = "row"}`;

test("ternary products over one quantization become one, biases stacked", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %wq: parameter "q.weight" f32[4, 6]
      %wk: parameter "k.weight" f32[2, 6] ternary(row)
      %bq: parameter "q.bias" f32[4]
      %bk: parameter "k.bias" f32[2]
      %q: f32[batch, 4] = bit_linear(%x, %wq, %bq) {weight_scale = "tensor", ${quantized}}
      %k: f32[batch, 2] = bit_linear(%x, %wk, %bk) {weight_scale = "row", ${quantized}}
      return q = %q, k = %k
    }`;
  expect(textAfter(text, ...prepared)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %wq: parameter "q.weight" f32[4, 6]
      %wk: parameter "k.weight" f32[2, 6] ternary(row)
      %bq: parameter "q.bias" f32[4]
      %bk: parameter "k.bias" f32[2]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %wq.ternary: f32[4, 6] ternary(tensor) = absmean_quantize(%wq) {scale = "tensor"}
      %q_k.weight: f32[6, 6] ternary(row) = concat(%wq.ternary, %wk) {axis = 0}
      %q_k.scale: f32[6] = weight_scale(%q_k.weight)
      %q_k.bias: f32[6] = concat(%bq, %bk) {axis = 0}
      %q_k: f32[batch, 6] = ternary_matmul(%x.codes, %x.sum, %q_k.weight, %x.d, %q_k.scale, %q_k.bias) {epilogue = add(mul(mul(to_f32(acc), x0), x1), x2)}
      %q: f32[batch, 4] = slice(%q_k) {axis = 1, start = 0, size = 4}
      %k: f32[batch, 2] = slice(%q_k) {axis = 1, start = 4, size = 2}
      return q = %q, k = %k
    }
    "
  `);
});

test("group scales stack with groups of the same length only", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %a: parameter "a" f32[4, 6]
      %b: parameter "b" f32[2, 6]
      %c: parameter "c" f32[3, 6]
      %p: f32[batch, 4] = bit_linear(%x, %a) {weight_scale = {group = 4}, ${quantized}}
      %q: f32[batch, 2] = bit_linear(%x, %b) {weight_scale = {group = 4}, ${quantized}}
      %r: f32[batch, 3] = bit_linear(%x, %c) {weight_scale = {group = 2}, ${quantized}}
      return p = %p, q = %q, r = %r
    }`;
  expect(textAfter(text, ...prepared)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %a: parameter "a" f32[4, 6]
      %b: parameter "b" f32[2, 6]
      %c: parameter "c" f32[3, 6]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %a.ternary: f32[4, 6] ternary(group 4) = absmean_quantize(%a) {scale = {group = 4}}
      %b.ternary: f32[2, 6] ternary(group 4) = absmean_quantize(%b) {scale = {group = 4}}
      %p_q.weight: f32[6, 6] ternary(group 4) = concat(%a.ternary, %b.ternary) {axis = 0}
      %p_q: f32[batch, 6] = ternary_matmul(%x.codes, %x.sum, %p_q.weight, %x.d) {epilogue = mul(acc, x0)}
      %p: f32[batch, 4] = slice(%p_q) {axis = 1, start = 0, size = 4}
      %q: f32[batch, 2] = slice(%p_q) {axis = 1, start = 4, size = 2}
      %c.ternary: f32[3, 6] ternary(group 2) = absmean_quantize(%c) {scale = {group = 2}}
      %r: f32[batch, 3] = ternary_matmul(%x.codes, %x.sum, %c.ternary, %x.d) {epilogue = mul(acc, x0)}
      return p = %p, q = %q, r = %r
    }
    "
  `);
});

test("dense layers over one activation merge by storage; a weight with another reader is left alone", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %a: parameter "a" f16[4, 6]
      %b: parameter "b" f16[2, 6]
      %c: parameter "c" f32[3, 6]
      %d: parameter "d" f32[3, 6]
      %e: parameter "e" f32[3, 3]
      %p: f32[batch, 4] = linear(%x, %a)
      %q: f32[batch, 2] = linear(%x, %b)
      %r: f32[batch, 3] = linear(%x, %c)
      %s: f32[batch, 3] = linear(%x, %d)
      %t: f32[batch, 3] = linear(%s, %e)
      %u: f32[3, 6] = exp(%d)
      return p = %p, q = %q, r = %r, s = %s, t = %t, u = %u
    }`;
  expect(textAfter(text, ...prepared)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %a: parameter "a" f16[4, 6]
      %b: parameter "b" f16[2, 6]
      %c: parameter "c" f32[3, 6]
      %d: parameter "d" f32[3, 6]
      %e: parameter "e" f32[3, 3]
      %p_q.weight: f16[6, 6] = concat(%a, %b) {axis = 0}
      %p_q: f32[batch, 6] = linear(%x, %p_q.weight)
      %p: f32[batch, 4] = slice(%p_q) {axis = 1, start = 0, size = 4}
      %q: f32[batch, 2] = slice(%p_q) {axis = 1, start = 4, size = 2}
      %r: f32[batch, 3] = linear(%x, %c)
      %s: f32[batch, 3] = linear(%x, %d)
      %t: f32[batch, 3] = linear(%s, %e)
      %u: f32[3, 6] = exp(%d)
      return p = %p, q = %q, r = %r, s = %s, t = %t, u = %u
    }
    "
  `);
});

test("products with other factors a row, or other epilogues, stay apart", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %r: input f32[batch, 1]
      %t: input f32[batch, 1]
      %a: parameter "a" f32[4, 6]
      %b: parameter "b" f32[4, 6]
      %c: parameter "c" f32[4, 6]
      %p: f32[batch, 4] = linear(%x, %a, %r) {epilogue = mul(acc, x0)}
      %q: f32[batch, 4] = linear(%x, %b, %t) {epilogue = mul(acc, x0)}
      %s: f32[batch, 4] = linear(%x, %c, %r) {epilogue = add(acc, x0)}
      return p = %p, q = %q, s = %s
    }`;
  expect(textAfter(text, mergeProjections)).toBe(textAfter(text));
});

const projections = fc.array(
  fc.record({
    n: fc.integer({ min: 1, max: 9 }),
    form: fc.constantFrom("latent", "ternary", "dense", "half", "int8"),
    scale: fc.constantFrom("tensor" as const, "row" as const, { group: 3 }, { group: 4 }),
    bias: fc.boolean(),
    activation: fc.boolean(),
  }),
  { minLength: 2, maxLength: 6 },
);

/** Projections of one activation f32[batch, 7], each an output. */
function sideBySide(cases: typeof projections extends fc.Arbitrary<infer Cases> ? Cases : never): Graph {
  const b = new GraphBuilder("projections");
  const x = b.input("x", dense("f32", [b.symbol("batch", { max: 3 }), 7]));
  for (const [i, { n, form, scale, bias, activation }] of cases.entries()) {
    const biases = bias ? [b.parameter(`${i}.bias`, dense("f32", [n]))] : [];
    const type = {
      latent: dense("f32", [n, 7]),
      ternary: encoded([n, 7], { kind: "ternary", scale }),
      dense: dense("f32", [n, 7]),
      half: dense("f16", [n, 7]),
      int8: encoded([n, 7], { kind: "int8", scale: "row" }),
    }[form];
    const w = b.parameter(`${i}.weight`, type);
    if (form === "latent" || form === "ternary") {
      const attributes = {
        weight_scale: scale,
        activation: activation ? ({ bits: 8, granularity: "row" } as const) : null,
      };
      b.output(`y${i}`, b.one("bit_linear", [x, w, ...biases], attributes));
    } else {
      const y = b.one("linear", [x, w], {});
      b.output(`y${i}`, biases[0] ? b.one("add", [y, biases[0]], {}) : y);
    }
  }
  return b.build();
}

test.prop([projections, fc.integer()], { numRuns: 100 })(
  "any mix of projections keeps its bits",
  (cases, seed) => {
    const before = sideBySide(cases);
    const after = runPasses(before, prepared, { verify: true });
    expectSameMeaning(before, after, seed);
    const products = topologicalOrder(after).filter(({ op }) => op === "linear" || op === "ternary_matmul");
    const kinds = cases.map(({ form, scale, bias, activation }) => {
      const coded = form === "latent" || form === "ternary";
      const layout = coded ? `ternary ${typeof scale === "string" ? "" : scale.group}` : form;
      return `${layout} ${coded && activation} ${bias}`;
    });
    expect(products).toHaveLength(new Set(kinds).size);
  },
);
