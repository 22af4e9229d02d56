import { expect, test } from "vitest";
import { textAfter } from "../../test/support/same-meaning.ts";
import { deadCode } from "./dead-code.ts";

test("parameters nobody reads go, inputs and states stay", () => {
  const text = `
    graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %unused: input f32[batch]
      %w: parameter "w" f32[8, 8]
      %v: parameter "v" f32[8, 8]
      %s: state "s" f32[batch, 8]
      %n: f32[batch, 8] = linear(%x, %v)
      %y: f32[batch, 8] = linear(%x, %w)
      return y = %y
    }`;
  expect(textAfter(text, deadCode)).toMatchInlineSnapshot(`
    "graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %unused: input f32[batch]
      %w: parameter "w" f32[8, 8]
      %s: state "s" f32[batch, 8]
      %y: f32[batch, 8] = linear(%x, %w)
      return y = %y
    }
    "
  `);
});
