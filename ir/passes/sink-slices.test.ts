import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { canonicalize } from "./canonicalize.ts";
import { sinkSlices } from "./sink-slices.ts";

const quantized = `activation = {bits = 8, granularity = "row"}`;

test("the head and the feed-forward network run for one row; the residual is cut once", () => {
  const text = `
    graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[6, 6]
      %b: parameter "b" f32[6]
      %v: parameter "v" f16[9, 6]
      %a: f32[batch, seq, 6] = exp(%x)
      %n: f32[batch, seq, 6] = rms_norm(%a, %g) {eps = 0.00001}
      %m: f32[batch, seq, 6] = bit_linear(%n, %w, %b) {weight_scale = "tensor", ${quantized}}
      %r: f32[batch, seq, 6] = add(%a, %m)
      %y: f32[batch, seq, 9] = linear(%r, %v)
      %l: f32[batch, 1, 9] = slice(%y) {axis = 1, start = -1, size = 1}
      return l = %l
    }`;
  expect(textAfter(text, sinkSlices)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[6, 6]
      %b: parameter "b" f32[6]
      %v: parameter "v" f16[9, 6]
      %x.last: f32[batch, 1, 6] = slice(%x) {axis = 1, start = -1, size = 1}
      %a.last: f32[batch, 1, 6] = exp(%x.last)
      %n.last: f32[batch, 1, 6] = rms_norm(%a.last, %g) {eps = 0.00001}
      %m.last: f32[batch, 1, 6] = bit_linear(%n.last, %w, %b) {weight_scale = "tensor", activation = {bits = 8, granularity = "row"}}
      %r.last: f32[batch, 1, 6] = add(%a.last, %m.last)
      %l: f32[batch, 1, 9] = linear(%r.last, %v)
      return l = %l
    }
    "
  `);
});

test("broadcast operands, embeddings, reshapes, transposes and other slices", () => {
  const text = `
    graph @g(batch <= 4, seq <= 16) {
      %ids: input i32[batch, seq]
      %row: input f32[6]
      %each: input f32[batch, 1, 6]
      %column: input f32[seq, 1]
      %e: parameter "e" f32[9, 6]
      %h: f32[batch, seq, 6] = embedding(%e, %ids)
      %a: f32[batch, seq, 6] = add(%h, %row)
      %b: f32[batch, seq, 6] = mul(%each, %a)
      %c: f32[batch, seq, 6] = sub(%b, %column)
      %d: f32[batch, seq, 4] = slice(%c) {axis = 2, start = 1, size = 4}
      %s: f32[batch, seq, 2, 2] = reshape(%d) {dims = ["batch", "seq", 2, 2]}
      %t: f32[seq, 2, batch, 2] = transpose(%s) {permutation = [1, 3, 0, 2]}
      %p: f32[seq, 2, batch, 2] = softmax(%t)
      %l: f32[1, 2, batch, 2] = slice(%p) {axis = 0, start = -1, size = 1}
      return l = %l
    }`;
  expect(textAfter(text, canonicalize, sinkSlices)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4, seq <= 16) {
      %ids: input i32[batch, seq]
      %row: input f32[6]
      %each: input f32[batch, 1, 6]
      %column: input f32[seq, 1]
      %e: parameter "e" f32[9, 6]
      %ids.last: i32[batch, 1] = slice(%ids) {axis = 1, start = -1, size = 1}
      %h.last: f32[batch, 1, 6] = embedding(%e, %ids.last)
      %a.last: f32[batch, 1, 6] = add(%h.last, %row)
      %b.last: f32[batch, 1, 6] = mul(%each, %a.last)
      %column.last: f32[1, 1] = slice(%column) {axis = 0, start = -1, size = 1}
      %c.last: f32[batch, 1, 6] = sub(%b.last, %column.last)
      %d.last: f32[batch, 1, 4] = slice(%c.last) {axis = 2, start = 1, size = 4}
      %s.last: f32[batch, 1, 2, 2] = reshape(%d.last) {dims = ["batch", 1, 2, 2]}
      %t.last: f32[1, 2, batch, 2] = transpose(%s.last) {permutation = [1, 3, 0, 2]}
      %l: f32[1, 2, batch, 2] = softmax(%t.last)
      return l = %l
    }
    "
  `);
});

test("a lowered product moves with its quantizer", () => {
  const text = `
    graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[5, 6] ternary(row)
      %c: f32[5] = weight_scale(%w)
      %q: i8[batch, seq, 6], %d: f32[batch, seq, 1], %s: i32[batch, seq, 1] = quantize(%x, %g) {bits = 8, granularity = "row", eps = 0.00001}
      %y: f32[batch, seq, 5] = ternary_matmul(%q, %s, %w, %d, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      %l: f32[batch, 1, 5] = slice(%y) {axis = 1, start = -1, size = 1}
      return l = %l
    }`;
  expect(textAfter(text, sinkSlices)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 6]
      %g: parameter "g" f32[6]
      %w: parameter "w" f32[5, 6] ternary(row)
      %x.last: f32[batch, 1, 6] = slice(%x) {axis = 1, start = -1, size = 1}
      %q.last: i8[batch, 1, 6], %d.last: f32[batch, 1, 1], %s.last: i32[batch, 1, 1] = quantize(%x.last, %g) {bits = 8, granularity = "row", eps = 0.00001}
      %c: f32[5] = weight_scale(%w)
      %l: f32[batch, 1, 5] = ternary_matmul(%q.last, %s.last, %w, %d.last, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
      return l = %l
    }
    "
  `);
});

test("rows that depend on each other, and results with another reader, are not cut", () => {
  const text = `
    graph @g(batch <= 4, seq <= 16) {
      %x: input f32[batch, seq, 6]
      %w: parameter "w" f32[6, 6]
      %a: f32[batch, seq, 6] = bit_linear(%x, %w) {weight_scale = "tensor", activation = {bits = 8, granularity = "tensor"}}
      %la: f32[batch, 1, 6] = slice(%a) {axis = 1, start = -1, size = 1}
      %b: f32[batch, seq, 6] = exp(%x)
      %lb: f32[batch, 1, 6] = slice(%b) {axis = 1, start = -1, size = 1}
      %c: f32[batch, seq, 6] = exp(%b)
      %lc: f32[batch, seq, 3] = slice(%c) {axis = 2, start = 0, size = 3}
      %m: f32[batch, 6] = mean(%c) {axis = 1, keep_dims = false}
      return la = %la, lb = %lb, lc = %lc, m = %m
    }`;
  expect(textAfter(text, sinkSlices)).toBe(textAfter(text));
});
