import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BitloomError } from "../../errors/index.ts";
import { GraphBuilder } from "../builder.ts";
import { acc, apply, arg, literal } from "../scalar.ts";
import { dense, encoded } from "../types.ts";
import { parseGraph, parseScalar } from "./parse.ts";
import { printGraph } from "./print.ts";

const example = `graph @mlp(batch <= 8, slots <= 2) {
  %x: input f32[batch, 784]
  %fc1.weight: parameter "fc1.weight" f32[256, 784]
  %packed: parameter "fc2.weight" f32[10, 256] ternary(group 64)
  %head: parameter "head" f32[10, 256] int8(row)
  %k: state "cache" f32[slots, 10]
  %h: f32[batch, 256] = bit_linear(%x, %fc1.weight) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
  %q: i8[batch, 256], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%h, %h) {bits = 8, granularity = "row", prologue = mul(relu2(x0), x1)}
  %y: f32[batch, 10] = ternary_matmul(%q, %s, %packed, %d) {epilogue = add(mul(acc, x0), -1.5)}
  %0: f32[batch, 256] = elementwise(%h) {expr = literal(nan)}
  %1: f32[batch, 10] = linear(%0, %head)
  %2: f32[10, batch] = transpose(%1) {permutation = [1, 0]}
  %3: f32[] = constant() {value = -0, dtype = "f32"}
  %4: f32[slots, 10] = add(%k, %3)
  next %k = %4
  return logits = %y, "other one" = %2
}
`;

describe("text form", () => {
  test("prints what it parsed", () => {
    expect(printGraph(parseGraph(example))).toBe(example);
  });

  test("the guide's example prints as itself", () => {
    const guide = readFileSync(new URL("../../docs/text-form.md", import.meta.url), "utf8");
    const [, text] = /```\n(graph [^`]*)```/.exec(guide)!;
    expect(printGraph(parseGraph(text!))).toBe(text);
  });

  test("a graph without symbols, inputs or outputs", () => {
    const empty = "graph @empty() {\n  return\n}\n";
    expect(printGraph(parseGraph(empty))).toBe(empty);
  });

  test("comments and layout do not matter", () => {
    const text = "graph@g(){// nothing\n%x:input f32[]\n\n  return y=%x // done\n}";
    expect(printGraph(parseGraph(text))).toBe("graph @g() {\n  %x: input f32[]\n  return y = %x\n}\n");
  });

  test("names are made unique, and nasty ones quoted", () => {
    const builder = new GraphBuilder('a "graph"\n');
    const x = builder.input("7", dense("f32", [2]));
    const y = builder.input("inf", dense("f32", [2]));
    const p = builder.parameter("__proto__", dense("f32", [2]));
    const a = builder.one("add", [x, y], {}, { name: "h" });
    const b = builder.one("add", [a, p], {}, { name: "h" });
    const c = builder.one("add", [b, b], {}, { name: "h_1" });
    const d = builder.one("neg", [c], {}, { name: "3" });
    const e = builder.one("neg", [d], {}, { name: "naïve\u2028%}" });
    builder.output("return", builder.one("neg", [e], {}));
    builder.output("inf", e);
    builder.output("", e);
    const text = printGraph(builder.build());
    expect(text.split("\n").map((line) => line.trim().split(" ")[0])).toContain("%h_1_1:");
    const again = parseGraph(text);
    expect(printGraph(again)).toBe(text);
    expect(again.inputs.map((value) => value.origin)).toEqual([x.origin, y.origin]);
    expect(again.outputs.map((output) => output.name)).toEqual(["return", "inf", ""]);
    expect(again.name).toBe('a "graph"\n');
  });

  test("attributes print in the schema's order, absent ones not at all", () => {
    const builder = new GraphBuilder("g");
    const x = builder.input("x", dense("f32", [4]));
    const [q] = builder.apply("quantize", [x], { granularity: "tensor", eps: undefined, bits: 4 });
    builder.output("q", q!);
    expect(printGraph(builder.build())).toContain('quantize(%x) {bits = 4, granularity = "tensor"}');
  });

  test("numbers keep every bit", () => {
    for (const value of [1 / 3, 5e-324, -0, 1e21, Number.NaN, -Infinity, Infinity, 2 ** 53 + 2]) {
      const builder = new GraphBuilder("g");
      builder.output("y", builder.one("constant", [], { value, dtype: "f32" }));
      const [output] = parseGraph(printGraph(builder.build())).outputs;
      const { origin } = output!.value;
      expect(origin.kind === "node" && origin.node.attributes).toEqual({ value, dtype: "f32" });
    }
  });

  test("locations of the text are the nodes' locations", () => {
    const { origin } = parseGraph(example, "mlp.graph").outputs[0]!.value;
    expect(origin.kind === "node" && origin.node.location).toEqual({
      file: "mlp.graph",
      line: 9,
      column: 24,
    });
  });
});

describe("scalar expressions", () => {
  test("parse", () => {
    expect(parseScalar("add(mul(to_f32(acc), x0), 1.5)")).toEqual(
      apply("add", apply("mul", apply("to_f32", acc), arg(0)), literal(1.5)),
    );
    expect(parseScalar("-inf")).toEqual(literal(-Infinity));
  });

  test.each(["", "x", "x01", "add(x0)", "neg(x0, x1)", "foo(x0)", "neg(x0", "x0 x1", "literal"])(
    "refuses %j",
    (text) => {
      expect(() => parseScalar(text)).toThrow("TEXT_SYNTAX");
    },
  );
});

describe("errors", () => {
  test.each([undefined, null, 5, {}])("%j is no text", (nothing) => {
    expect(() => parseGraph(nothing as never)).toThrow(
      expect.objectContaining({ code: "TEXT_SYNTAX", received: String(nothing) }),
    );
  });

  const body = (lines: string) =>
    `graph @g(n <= 4) {\n  %x: input f32[n, 3]\n  ${lines}\n  return y = %x\n}\n`;

  test.each([
    ["", "TEXT_SYNTAX", "text:1:1", "graph"],
    ["graph @g() {", "TEXT_SYNTAX", "text:1:13", "the end of the text"],
    ["graph @g(n <= 0) {return}", "TEXT_SYNTAX", "text:1:15", "positive integer"],
    ["graph @g(n.m <= 1) {return}", "INVALID_GRAPH", "text:1:10", "letters"],
    ["graph @g() {return} more", "TEXT_SYNTAX", "text:1:21", "the end"],
    [body("%y: f32[m] = neg(%x)"), "TEXT_SYNTAX", "text:3:11", "`m`"],
    [body("%y: f64[n] = neg(%x)"), "TEXT_SYNTAX", "text:3:7", "dtype"],
    [body("%y: f32[n, 3] = nag(%x)"), "TEXT_SYNTAX", "text:3:19", "op"],
    [body("%y: f32[n, 3] = neg(%z)"), "TEXT_SYNTAX", "text:3:23", "`%z`"],
    [body("%x: f32[n, 3] = neg(%x)"), "TEXT_SYNTAX", "text:3:3", "not yet taken"],
    [body("%y: f32[n, 4] = neg(%x)"), "SHAPE_MISMATCH", "text:3:3", "f32[n, 3], as neg infers"],
    [body("%y: i32[n, 3] = neg(%x, %x)"), "INVALID_GRAPH", "text:3:19", "2 operands"],
    [body("%y: f32[n, 3] = add(%x, %w)"), "TEXT_SYNTAX", "text:3:27", "`%w`"],
    [body("%y: f32[n, 3], %z: f32[n, 3] = neg(%x)"), "TEXT_SYNTAX", "text:3:3", "1 results"],
    [body("%y: f32[n] = sum(%x) {axis = 1}"), "INVALID_ATTRIBUTE", "text:3:16", "keep_dims"],
    [body("%y: f32[n] = sum(%x) {axis = 1, axis = 1}"), "TEXT_SYNTAX", "text:3:35", "not given above"],
    [
      body("%y: f32[n] = sum(%x) {axis = 1, keep_dims = false, __proto__ = {}}"),
      "INVALID_ATTRIBUTE",
      "text:3:16",
      "__proto__",
    ],
    [body("%y: f32[n] = sum(%x) {axis = 5, keep_dims = false}"), "INVALID_ATTRIBUTE", "text:3:16", "axis 5"],
    [body('%y: parameter "w f32[3]'), "TEXT_SYNTAX", "text:3:17", '"'],
    [body('%y: parameter "\\q" f32[3]'), "TEXT_SYNTAX", "text:3:17", "escapes"],
    [body('%y: parameter "w" f32[3] ternary(row)'), "INVALID_GRAPH", "text:3:3", "encoding"],
    [body('%y: parameter "w" f32[3, 3] int8(tensor)'), "TEXT_SYNTAX", "text:3:36", "int8(row)"],
    [body("next %x = %x"), "INVALID_GRAPH", "text:3:8", "state"],
    [body("é"), "TEXT_SYNTAX", "text:3:3", "é"],
  ])("%j", (text, code, location, detail) => {
    const error = thrown(() => parseGraph(text));
    expect(error.code).toBe(code);
    expect(error.location).toBe(location);
    expect(error.message).toContain(detail);
  });

  test("a shape error keeps both shapes and names the line", () => {
    const text = body('%w: parameter "w" f32[2, 4]\n  %y: f32[n, 2] = linear(%x, %w)');
    const error = thrown(() => parseGraph(text, "m.graph"));
    expect(error.code).toBe("SHAPE_MISMATCH");
    expect(error.location).toBe("m.graph:4:19");
    expect(error.received).toBe("x f32[n, 3], w f32[2, 4]");
  });

  test("deep nesting is refused, not a stack overflow", () => {
    const deep = (open: string, close: string) => open.repeat(100_000) + close.repeat(100_000);
    expect(() => parseScalar(`${deep("neg(", ")")}`)).toThrow("levels of nesting");
    expect(() => parseGraph(body(`%y: f32[] = constant() {value = ${deep("[", "]")}}`))).toThrow("nesting");
    expect(() => parseGraph(body(`%y: f32[] = constant() {value = ${deep("{a = ", "}")}}`))).toThrow(
      "nesting",
    );
  });
});

test("an encoded type is written with its scales", () => {
  const builder = new GraphBuilder("g");
  builder.parameter("w", encoded([2, 4], { kind: "ternary", scale: "tensor" }));
  expect(printGraph(builder.build())).toContain('%w: parameter "w" f32[2, 4] ternary(tensor)');
});

function thrown(action: () => unknown): BitloomError {
  try {
    action();
  } catch (error) {
    if (error instanceof BitloomError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
