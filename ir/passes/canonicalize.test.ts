import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { canonicalize } from "./canonicalize.ts";

test("no-op arithmetic, reshapes, slices, transposes and casts disappear", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %one: f32[] = constant() {value = 1, dtype = "f32"}
      %zero: f32[] = constant() {value = 0, dtype = "f32"}
      %minus: f32[] = constant() {value = -0, dtype = "f32"}
      %a: f32[batch, 8] = mul(%one, %x)
      %b: f32[batch, 8] = div(%a, %one)
      %c: f32[batch, 8] = sub(%b, %zero)
      %d: f32[batch, 8] = add(%c, %minus)
      %e: f32[batch, 8] = to_f32(%d)
      %f: f32[batch, 8] = slice(%e) {axis = -1, start = -8, size = 8}
      %g: f32[batch, 2, 4] = reshape(%f) {dims = ["batch", 2, 4]}
      %h: f32[batch, 4, 2] = transpose(%g) {permutation = [0, 2, 1]}
      %i: f32[batch, 2, 4] = transpose(%h) {permutation = [0, 2, 1]}
      %j: f32[2, batch, 4] = reshape(%i) {dims = [2, "batch", 4]}
      %k: f32[batch, 8] = reshape(%j) {dims = ["batch", 8]}
      %l: f32[batch, 8] = neg(%k)
      %m: f32[batch, 8] = neg(%l)
      %n: f32[batch, 8] = concat(%m) {axis = 1}
      %y: f32[batch, 8] = exp(%n)
      return y = %y
    }`;
  expect(textAfter(text, canonicalize)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %y: f32[batch, 8] = exp(%x)
      return y = %y
    }
    "
  `);
});

test("constants fold as the operations round", () => {
  const text = `
    graph @g() {
      %x: input f32[2]
      %i: input i32[2]
      %a: f32[] = constant() {value = 0.1, dtype = "f32"}
      %b: f32[] = constant() {value = 0.2, dtype = "f32"}
      %sum: f32[] = add(%a, %b)
      %root: f32[] = sqrt(%sum)
      %y: f32[2] = mul(%x, %root)
      %n: i32[] = constant() {value = 2147483647, dtype = "i32"}
      %m: i32[] = add(%n, %n)
      %j: i32[2] = add(%i, %m)
      return y = %y, j = %j
    }`;
  expect(textAfter(text, canonicalize)).toMatchInlineSnapshot(`
    "graph @g() {
      %x: input f32[2]
      %i: input i32[2]
      %root: f32[] = constant() {value = 0.547722578048706, dtype = "f32"}
      %y: f32[2] = mul(%x, %root)
      %m: i32[] = constant() {value = -2, dtype = "i32"}
      %j: i32[2] = add(%i, %m)
      return y = %y, j = %j
    }
    "
  `);
});

test("what would change a bit stays", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %zero: f32[] = constant() {value = 0, dtype = "f32"}
      %a: f32[batch, 8] = add(%x, %zero)
      %minus: f32[] = constant() {value = -0, dtype = "f32"}
      %b: f32[batch, 8] = sub(%a, %minus)
      %h: f16[batch, 8] = cast(%b) {dtype = "f16"}
      %c: f32[batch, 8] = cast(%h) {dtype = "f32"}
      return c = %c
    }`;
  expect(textAfter(text, canonicalize)).toBe(textAfter(text));
});

test("slices of slices join, and count from the front where the length is known", () => {
  const text = `
    graph @g(batch <= 4, seq <= 4) {
      %x: input f32[batch, seq, 8]
      %a: f32[batch, seq, 6] = slice(%x) {axis = 2, start = -7, size = 6}
      %b: f32[batch, seq, 2] = slice(%a) {axis = -1, start = 3, size = 2}
      %c: f32[batch, 2, 2] = slice(%b) {axis = 1, start = -2, size = 2}
      %d: f32[batch, 1, 2] = slice(%c) {axis = 1, start = -1, size = 1}
      return d = %d
    }`;
  expect(textAfter(text, canonicalize)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4, seq <= 4) {
      %x: input f32[batch, seq, 8]
      %b: f32[batch, seq, 2] = slice(%x) {axis = 2, start = 4, size = 2}
      %d: f32[batch, 1, 2] = slice(%b) {axis = 1, start = -1, size = 1}
      return d = %d
    }
    "
  `);
});

test("a half that was widened narrows to itself", () => {
  const text = `
    graph @g() {
      %w: parameter "w" f16[4, 2]
      %a: f32[4, 2] = cast(%w) {dtype = "f32"}
      %b: f16[4, 2] = cast(%a) {dtype = "f16"}
      return b = %b
    }`;
  expect(textAfter(text, canonicalize)).toMatchInlineSnapshot(`
    "graph @g() {
      %w: parameter "w" f16[4, 2]
      return b = %w
    }
    "
  `);
});

test("what a value's gradient was taken of is forgotten", () => {
  const text = `
    graph @g() {
      %w: parameter "w" f32[4, 2]
      %s: f32[4, 2] = tanh(%w)
      %r: f32[4, 2] = relu(%w)
      %y: f32[4, 2] = straight_through(%r, %s)
      return y = %y
    }`;
  expect(textAfter(text, canonicalize)).toMatchInlineSnapshot(`
    "graph @g() {
      %w: parameter "w" f32[4, 2]
      %r: f32[4, 2] = relu(%w)
      return y = %r
    }
    "
  `);
});
