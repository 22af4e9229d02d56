import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { shareQuantize } from "./share-quantize.ts";

test("equal nodes become one, from the bottom up; -0 is not 0", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %zero: f32[] = constant() {value = 0, dtype = "f32"}
      %minus: f32[] = constant() {value = -0, dtype = "f32"}
      %a: f32[batch, 8] = exp(%x)
      %b: f32[batch, 8] = exp(%x)
      %c: f32[batch, 8] = add(%a, %zero)
      %d: f32[batch, 8] = add(%b, %zero)
      %e: f32[batch, 8] = add(%b, %minus)
      %f: f32[batch, 8] = mul(%c, %d)
      %y: f32[batch, 8] = div(%f, %e)
      return y = %y
    }`;
  expect(textAfter(text, commonSubexpressions)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %a: f32[batch, 8] = exp(%x)
      %zero: f32[] = constant() {value = 0, dtype = "f32"}
      %c: f32[batch, 8] = add(%a, %zero)
      %f: f32[batch, 8] = mul(%c, %c)
      %minus: f32[] = constant() {value = -0, dtype = "f32"}
      %e: f32[batch, 8] = add(%a, %minus)
      %y: f32[batch, 8] = div(%f, %e)
      return y = %y
    }
    "
  `);
});

test("share-quantize: one quantization of a shared activation; other settings stay apart", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %a: i8[batch, 8], %ad: f32[batch, 1], %as: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %b: i8[batch, 8], %bd: f32[batch, 1], %bs: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %c: i8[batch, 8], %cd: f32[batch, 1], %cs: i32[batch, 1] = quantize(%x) {bits = 4, granularity = "row"}
      %e: f32[batch, 8] = exp(%x)
      %f: f32[batch, 8] = exp(%x)
      return a = %a, ad = %ad, b = %b, bs = %bs, c = %c, e = %e, f = %f
    }`;
  expect(textAfter(text, shareQuantize)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %a: i8[batch, 8], %ad: f32[batch, 1], %as: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %c: i8[batch, 8], %cd: f32[batch, 1], %cs: i32[batch, 1] = quantize(%x) {bits = 4, granularity = "row"}
      %e: f32[batch, 8] = exp(%x)
      %f: f32[batch, 8] = exp(%x)
      return a = %a, ad = %ad, b = %a, bs = %as, c = %c, e = %e, f = %f
    }
    "
  `);
});
