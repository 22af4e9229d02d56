import { describe, expect, test } from "vitest";
import { BitloomError } from "../errors/index.ts";
import type { Graph, Node, Value } from "./graph.ts";
import { parseGraph } from "./text/parse.ts";
import { dense } from "./types.ts";
import { verifyGraph } from "./verify.ts";

const graph = parseGraph(`graph @g(n <= 4) {
  %x: input f32[n, 3]
  %w: parameter "w" f32[2, 3]
  %k: state "k" f32[2, 3]
  %h: f32[n, 3] = relu(%x)
  %y: f32[n, 2] = linear(%h, %w)
  %k1: f32[2, 3] = add(%k, %w)
  next %k = %k1
  return y = %y
}`);
const y = graph.outputs[0]!.value;
const yNode = nodeOf(y);

function nodeOf(value: Value): Node {
  if (value.origin.kind !== "node") throw new Error("not a node's result");
  return value.origin.node;
}

/** The graph with the output's node altered, its result still tied to it. */
function withNode(change: Record<string, unknown>, type = y.type): Graph {
  const results: Value[] = [];
  const node = { ...yNode, results, ...change } as unknown as Node;
  results.push({ type, origin: { kind: "node", node, index: 0 }, name: "y" });
  return { ...graph, outputs: [{ name: "y", value: results[0]! }] };
}

function problem(broken: Graph): BitloomError {
  try {
    verifyGraph(broken);
  } catch (error) {
    if (error instanceof BitloomError) return error;
    throw error;
  }
  throw new Error("the verifier accepted it");
}

describe("verifyGraph", () => {
  test("accepts a sound graph", () => {
    verifyGraph(graph);
  });

  const foreign: Value = { type: dense("f32", [2, 3]), origin: { kind: "parameter", path: "v" } };
  test.each<[string, Graph, string]>([
    [
      "a result of another type",
      withNode({}, dense("f32", ["n", 3])),
      'linear "y" has results of the wrong types',
    ],
    ["an unknown op", withNode({ op: "linaer" }), 'linaer "y" is not an op'],
    ["a missing operand", withNode({ operands: yNode.operands.slice(1) }), 'linear "y" breaks a rule'],
    ["operands that do not fit", withNode({ operands: [y, yNode.operands[1]] }), "breaks a rule"],
    ["an unknown attribute", withNode({ attributes: { bias: true } }), "breaks a rule"],
    ["a value of no one", withNode({ operands: [yNode.operands[0], foreign] }), 'reads parameter "v"'],
    ["an output of no one", { ...graph, outputs: [{ name: "y", value: foreign }] }, 'reads parameter "v"'],
    ["an undeclared symbol", { ...graph, symbols: new Map() }, 'input "x" has dimension n'],
    ["a bad bound", { ...graph, symbols: new Map([["n", { max: 0 }]]) }, 'symbol "n"'],
    [
      "two outputs of one name",
      { ...graph, outputs: [...graph.outputs, ...graph.outputs] },
      'two outputs called "y"',
    ],
    [
      "two inputs of one name",
      { ...graph, inputs: [...graph.inputs, { ...graph.inputs[0]! }] },
      'two inputs called "x"',
    ],
    [
      "a parameter among the inputs",
      { ...graph, inputs: graph.parameters },
      'parameter "w" is listed as input',
    ],
    [
      "a next state of another type",
      { ...graph, states: [{ ...graph.states[0]!, next: y }] },
      'state "k" has another type',
    ],
  ])("refuses %s", (_what, broken, message) => {
    const error = problem(broken);
    expect(error.code).toBe("INVALID_GRAPH");
    expect(error.message).toContain(message);
    expect(error.message).toContain('Graph "g"');
  });

  test("refuses a result whose origin is another node", () => {
    const node = { ...yNode, results: [y] } as Node;
    const [result] = [{ ...y, origin: { kind: "node", node: yNode, index: 0 } as const }];
    const broken = { ...node, results: [result] } as Node;
    const reader: Value = { ...y, origin: { kind: "node", node: broken, index: 0 } };
    expect(problem({ ...graph, outputs: [{ name: "y", value: reader }] }).message).toContain(
      "names another origin",
    );
  });

  test("refuses a cycle", () => {
    const operands: Value[] = [];
    const results: Value[] = [];
    const node = { op: "neg", operands, attributes: {}, results } as unknown as Node;
    const value: Value = { type: dense("f32", [1]), origin: { kind: "node", node, index: 0 }, name: "loop" };
    results.push(value);
    operands.push(value);
    expect(problem({ ...graph, outputs: [{ name: "y", value }] }).message).toContain("depends on itself");
  });

  test("says where, and keeps the broken rule as the cause", () => {
    const error = problem(withNode({ operands: [y, yNode.operands[1]] }));
    expect(error.location).toBe("text:6:19");
    expect(error.received).toBe("x f32[n, 2], w f32[2, 3]");
    expect((error.cause as BitloomError).code).toBe("SHAPE_MISMATCH");
  });

  test("bounds integer accumulations", () => {
    const text = (k: number) => `graph @g() {
      %q: input i8[1, ${k}]
      %s: input i32[1, 1]
      %w: parameter "w" f32[1, ${k}] ternary(tensor)
      %y: i32[1, 1] = ternary_matmul(%q, %s, %w)
      return y = %y
    }`;
    verifyGraph(parseGraph(text(131_072)));
    expect(() => parseGraph(text(131_073))).toThrow("LIMIT_EXCEEDED");
    const long = parseGraph(text(131_072));
    for (const value of [...long.inputs, ...long.parameters])
      Object.assign(value.type, { dims: value.type.dims.map((dim) => (dim === 131_072 ? 131_073 : dim)) });
    expect(problem(long).message).toContain('ternary_matmul "y" breaks a rule');
  });
});
