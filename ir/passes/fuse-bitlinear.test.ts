import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { fuseBitLinear } from "./fuse-bitlinear.ts";
import { fuseElementwise } from "./fuse-elementwise.ts";
import { fuseScale } from "./fuse-scale.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";

const quantized = `activation = {bits = 8, granularity = "row"}`;

test("norm, quantizer, scale, bias, activation and residual: two kernels", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[6, 6]
      %b: parameter "b" f32[6]
      %n: f32[batch, 6] = rms_norm(%x, %g) {eps = 0.00001}
      %h: f32[batch, 6] = bit_linear(%n, %w, %b) {weight_scale = "tensor", ${quantized}}
      %r: f32[batch, 6] = relu2(%h)
      %y: f32[batch, 6] = add(%x, %r)
      return y = %y
    }`;
  expect(textAfter(text, lowerBitLinear, fuseScale, fuseBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[6, 6]
      %b: parameter "b" f32[6]
      %n.codes: i8[batch, 6], %n.d: f32[batch, 1], %n.sum: i32[batch, 1] = quantize(%x, %g) {bits = 8, granularity = "row", eps = 0.00001}
      %w.ternary: f32[6, 6] ternary(tensor) = absmean_quantize(%w) {scale = "tensor"}
      %w.scale: f32[6] = weight_scale(%w.ternary)
      %y: f32[batch, 6] = ternary_matmul(%n.codes, %n.sum, %w.ternary, %n.d, %w.scale, %b, %x) {epilogue = add(x3, relu2(add(mul(mul(to_f32(acc), x0), x1), x2)))}
      return y = %y
    }
    "
  `);
});

test("a gate over slices of one product becomes the prologue", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %g: parameter "g" f32[4]
      %w: parameter "w" f32[8, 6]
      %v: parameter "v" f32[3, 4]
      %gu: f32[batch, 8] = linear(%x, %w)
      %gate: f32[batch, 4] = slice(%gu) {axis = 1, start = 0, size = 4}
      %up: f32[batch, 4] = slice(%gu) {axis = 1, start = 4, size = 4}
      %r: f32[batch, 4] = relu2(%gate)
      %m: f32[batch, 4] = mul(%r, %up)
      %n: f32[batch, 4] = rms_norm(%m, %g) {eps = 0.00001}
      %y: f32[batch, 3] = bit_linear(%n, %v) {weight_scale = "tensor", ${quantized}}
      return y = %y
    }`;
  expect(textAfter(text, lowerBitLinear, fuseScale, fuseElementwise, fuseBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %g: parameter "g" f32[4]
      %w: parameter "w" f32[8, 6]
      %v: parameter "v" f32[3, 4]
      %gu: f32[batch, 8] = linear(%x, %w)
      %gate: f32[batch, 4] = slice(%gu) {axis = 1, start = 0, size = 4}
      %up: f32[batch, 4] = slice(%gu) {axis = 1, start = 4, size = 4}
      %n.codes: i8[batch, 4], %n.d: f32[batch, 1], %n.sum: i32[batch, 1] = quantize(%gate, %up, %g) {bits = 8, granularity = "row", prologue = mul(relu2(x0), x1), eps = 0.00001}
      %v.ternary: f32[3, 4] ternary(tensor) = absmean_quantize(%v) {scale = "tensor"}
      %v.scale: f32[3] = weight_scale(%v.ternary)
      %y: f32[batch, 3] = ternary_matmul(%n.codes, %n.sum, %v.ternary, %n.d, %v.scale) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      return y = %y
    }
    "
  `);
});

test("a residual joins through a reshape", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %z: input f32[batch, 2, 3]
      %w: parameter "w" f32[6, 6]
      %m: f32[batch, 6] = linear(%x, %w)
      %s: f32[batch, 2, 3] = reshape(%m) {dims = ["batch", 2, 3]}
      %y: f32[batch, 2, 3] = sub(%z, %s)
      return y = %y
    }`;
  expect(textAfter(text, fuseBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %z: input f32[batch, 2, 3]
      %w: parameter "w" f32[6, 6]
      %0: f32[batch, 6] = reshape(%z) {dims = ["batch", 6]}
      %1: f32[batch, 6] = linear(%x, %w, %0) {epilogue = sub(x0, acc)}
      %y: f32[batch, 2, 3] = reshape(%1) {dims = ["batch", 2, 3]}
      return y = %y
    }
    "
  `);
});

test("what has another reader stays: products, norms and expressions", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[6, 6]
      %m: f32[batch, 6] = linear(%x, %w)
      %r: f32[batch, 6] = relu(%m)
      %n: f32[batch, 6] = rms_norm(%r, %g) {eps = 0.00001}
      %q: i8[batch, 6], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%n) {bits = 8, granularity = "row"}
      return m = %m, n = %n, q = %q, d = %d, s = %s
    }`;
  expect(textAfter(text, fuseBitLinear)).toBe(textAfter(text));
});

test("a product in a wider result, or read twice by an expression, keeps its own epilogue", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[6]
      %z: input f32[batch, 6]
      %w: parameter "w" f32[6, 6]
      %b: parameter "b" f32[6]
      %m: f32[6] = linear(%x, %w)
      %y: f32[batch, 6] = add(%z, %m)
      %p: f32[batch, 6] = linear(%y, %w, %b) {epilogue = add(acc, x0)}
      %e: f32[batch, 6] = elementwise(%p) {expr = mul(x0, sigmoid(x0))}
      return e = %e
    }`;
  expect(textAfter(text, fuseBitLinear)).toBe(textAfter(text));
});
