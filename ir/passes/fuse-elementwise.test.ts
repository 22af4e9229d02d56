import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { fuseElementwise } from "./fuse-elementwise.ts";

test("a tree becomes one expression; order of operands and constants are kept", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %r: input f32[8]
      %half: f32[] = constant() {value = 0.5, dtype = "f32"}
      %a: f32[batch, 8] = sub(%r, %x)
      %b: f32[batch, 8] = mul(%half, %a)
      %c: f32[batch, 8] = sigmoid(%x)
      %y: f32[batch, 8] = div(%c, %b)
      return y = %y
    }`;
  expect(textAfter(text, fuseElementwise)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %r: input f32[8]
      %y: f32[batch, 8] = elementwise(%x, %r) {expr = div(sigmoid(x0), mul(0.5, sub(x1, x0)))}
      return y = %y
    }
    "
  `);
});

test("what is read twice, broadcast, known at build or an integer stays outside", () => {
  const text = `
    graph @g() {
      %x: input f32[4, 8]
      %r: input f32[8]
      %i: input i32[4, 8]
      %w: parameter "w" f32[4, 8]
      %twice: f32[4, 8] = exp(%x)
      %a: f32[4, 8] = relu(%twice)
      %b: f32[4, 8] = mul(%a, %twice)
      %row: f32[8] = tanh(%r)
      %c: f32[4, 8] = add(%b, %row)
      %build: f32[4, 8] = sqrt(%w)
      %d: f32[4, 8] = add(%c, %build)
      %square: f32[4, 8] = mul(%d, %d)
      %sum: i32[4, 8] = add(%i, %i)
      %f: f32[4, 8] = to_f32(%sum)
      %y: f32[4, 8] = mul(%square, %f)
      return y = %y
    }`;
  expect(textAfter(text, fuseElementwise)).toMatchInlineSnapshot(`
    "graph @g() {
      %x: input f32[4, 8]
      %r: input f32[8]
      %i: input i32[4, 8]
      %w: parameter "w" f32[4, 8]
      %twice: f32[4, 8] = exp(%x)
      %row: f32[8] = tanh(%r)
      %build: f32[4, 8] = sqrt(%w)
      %d: f32[4, 8] = elementwise(%twice, %row, %build) {expr = add(add(mul(relu(x0), x0), x1), x2)}
      %sum: i32[4, 8] = add(%i, %i)
      %y: f32[4, 8] = elementwise(%d, %sum) {expr = mul(mul(x0, x0), to_f32(x1))}
      return y = %y
    }
    "
  `);
});

test("long chains are cut into several expressions", () => {
  const steps = Array.from({ length: 200 }, (_, i) => `%v${i + 1}: f32[4] = neg(%v${i})`);
  const text = `graph @g() {\n%v0: input f32[4]\n${steps.join("\n")}\nreturn y = %v200\n}`;
  const lines = textAfter(text, fuseElementwise).split("\n");
  expect(lines.filter((line) => line.includes("elementwise("))).toHaveLength(4);
});

test("an operand that only gives the shape is not lost", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %s: input f32[]
      %two: f32[] = constant() {value = 2, dtype = "f32"}
      %a: f32[batch, 8] = elementwise(%x, %two) {expr = neg(x1)}
      %b: f32[] = elementwise(%s, %two) {expr = sqrt(x1)}
      return a = %a, b = %b
    }`;
  expect(textAfter(text, fuseElementwise)).toBe(textAfter(text));
});
