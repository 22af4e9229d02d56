import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { fuseScale } from "./fuse-scale.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";

test("scale and bias join the epilogue; the activation after them waits", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %b: parameter "b" f32[5]
      %h: f32[batch, 5] = bit_linear(%x, %w, %b) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
      %r: f32[batch, 5] = relu(%h)
      %y: f32[batch, 5] = add(%h, %r)
      return y = %y
    }`;
  expect(textAfter(text, lowerBitLinear, fuseScale)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %b: parameter "b" f32[5]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %w.ternary: f32[5, 6] ternary(row) = absmean_quantize(%w) {scale = "row"}
      %w.scale: f32[5] = weight_scale(%w.ternary)
      %h: f32[batch, 5] = ternary_matmul(%x.codes, %x.sum, %w.ternary, %x.d, %w.scale, %b) {epilogue = add(mul(mul(to_f32(acc), x0), x1), x2)}
      %r: f32[batch, 5] = relu(%h)
      %y: f32[batch, 5] = add(%h, %r)
      return y = %y
    }
    "
  `);
});

test("a dense layer takes its bias; a product read twice takes nothing", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f16[5, 6]
      %v: parameter "v" f32[5, 6]
      %b: parameter "b" f32[5]
      %m: f32[batch, 5] = linear(%x, %w)
      %n: f32[batch, 5] = linear(%x, %v)
      %p: f32[batch, 5] = add(%b, %m)
      %q: f32[batch, 5] = add(%n, %b)
      return p = %p, q = %q, n = %n
    }`;
  expect(textAfter(text, fuseScale)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f16[5, 6]
      %v: parameter "v" f32[5, 6]
      %b: parameter "b" f32[5]
      %p: f32[batch, 5] = linear(%x, %w, %b) {epilogue = add(x0, acc)}
      %n: f32[batch, 5] = linear(%x, %v)
      %q: f32[batch, 5] = add(%n, %b)
      return p = %p, q = %q, n = %n
    }
    "
  `);
});
