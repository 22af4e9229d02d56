import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { lowerBitLinear } from "./lower-bitlinear.ts";

const layer = (weight: string, attributes: string, operands = "%x, %w") => `
  graph @g(batch <= 4) {
    %x: input f32[batch, 6]
    %w: parameter "w" ${weight}
    %b: parameter "b" f32[5]
    %y: f32[batch, 5] = bit_linear(${operands}) {${attributes}}
    return y = %y
  }`;

test("a latent weight with bias", () => {
  const attributes = `weight_scale = "row", activation = {bits = 8, granularity = "row"}`;
  const text = layer("f32[5, 6]", attributes, "%x, %w, %b");
  expect(textAfter(text, lowerBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %b: parameter "b" f32[5]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %w.ternary: f32[5, 6] ternary(row) = absmean_quantize(%w) {scale = "row"}
      %y.acc: i32[batch, 5] = ternary_matmul(%x.codes, %x.sum, %w.ternary)
      %0: f32[batch, 5] = to_f32(%y.acc)
      %1: f32[batch, 5] = mul(%0, %x.d)
      %w.scale: f32[5] = weight_scale(%w.ternary)
      %2: f32[batch, 5] = mul(%1, %w.scale)
      %y: f32[batch, 5] = add(%2, %b)
      return y = %y
    }
    "
  `);
});

test("a ternary weight is taken as it is", () => {
  const attributes = `weight_scale = "tensor", activation = {bits = 8, granularity = "row"}`;
  expect(textAfter(layer("f32[5, 6] ternary(tensor)", attributes), lowerBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6] ternary(tensor)
      %b: parameter "b" f32[5]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %y.acc: i32[batch, 5] = ternary_matmul(%x.codes, %x.sum, %w)
      %0: f32[batch, 5] = to_f32(%y.acc)
      %1: f32[batch, 5] = mul(%0, %x.d)
      %w.scale: f32[5] = weight_scale(%w)
      %y: f32[batch, 5] = mul(%1, %w.scale)
      return y = %y
    }
    "
  `);
});

test("group scales are applied in the product", () => {
  const attributes = `weight_scale = {group = 4}, activation = {bits = 4, granularity = "tensor"}`;
  expect(textAfter(layer("f32[5, 6]", attributes), lowerBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %b: parameter "b" f32[5]
      %x.codes: i8[batch, 6], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 4, granularity = "tensor"}
      %w.ternary: f32[5, 6] ternary(group 4) = absmean_quantize(%w) {scale = {group = 4}}
      %y.acc: f32[batch, 5] = ternary_matmul(%x.codes, %x.sum, %w.ternary)
      %y: f32[batch, 5] = mul(%y.acc, %x.d)
      return y = %y
    }
    "
  `);
});

test("without activation quantization it is a linear layer", () => {
  const text = layer("f32[5, 6]", `weight_scale = "tensor", activation = null`, "%x, %w, %b");
  expect(textAfter(text, lowerBitLinear)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 6]
      %w: parameter "w" f32[5, 6]
      %b: parameter "b" f32[5]
      %w.ternary: f32[5, 6] ternary(tensor) = absmean_quantize(%w) {scale = "tensor"}
      %0: f32[batch, 5] = linear(%x, %w.ternary)
      %y: f32[batch, 5] = add(%0, %b)
      return y = %y
    }
    "
  `);
});
