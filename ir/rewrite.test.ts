import { expect, test } from "vitest";
import { BitloomError } from "../errors/index.ts";
import { GraphBuilder } from "./builder.ts";
import { type Graph, type Node, topologicalOrder, type Value } from "./graph.ts";
import type { OpName } from "./ops/index.ts";
import { definePass, derive, type Pass, rebuild, remake, rule, runPasses } from "./rewrite.ts";
import { dense } from "./types.ts";

const f32 = dense("f32", ["batch", 4]);

function graphOf(body: (builder: GraphBuilder, x: Value) => void): Graph {
  const builder = new GraphBuilder("test");
  builder.symbol("batch", { max: 8 });
  body(builder, builder.input("x", f32));
  return builder.build();
}

/** A chain of unary ops over x. */
function chain(fns: readonly ("neg" | "abs" | "exp" | "relu" | "tanh")[]): Graph {
  return graphOf((builder, x) => {
    builder.output(
      "y",
      fns.reduce((value, fn) => builder.one(fn, [value], {}), x),
    );
  });
}

function opsOf(graph: Graph): OpName[] {
  return topologicalOrder(graph).map((node) => node.op);
}

const swapNames = (from: "neg" | "abs" | "exp" | "relu" | "tanh", to: OpName) =>
  rule(from, (node) => remake(node as Node, to as "neg", node.operands, {}).results);

test("what a rule makes is rewritten in turn", () => {
  const pass = definePass("steps", [
    swapNames("tanh", "abs"),
    swapNames("exp", "relu"),
    swapNames("neg", "exp"),
  ]);
  expect(opsOf(pass.run(chain(["neg", "tanh", "neg"])))).toEqual(["relu", "abs", "relu"]);
});

test("a graph no rule answers for comes back itself", () => {
  const graph = chain(["exp", "abs"]);
  expect(definePass("none", [rule("exp", () => undefined)]).run(graph)).toBe(graph);
});

test("shared values stay shared, and are rewritten once", () => {
  const graph = graphOf((builder, x) => {
    let value = x;
    // Read as a tree this has 2^40 nodes.
    for (let i = 0; i < 40; i++) {
      const shared = builder.one("neg", [value], {});
      value = builder.one("add", [shared, shared], {});
    }
    builder.output("y", value);
  });
  let fired = 0;
  const pass = definePass("count", [
    rule("neg", (node) => {
      fired++;
      return remake(node, "abs", node.operands, {}).results;
    }),
  ]);
  expect(topologicalOrder(pass.run(graph))).toHaveLength(80);
  expect(fired).toBe(40);
});

test("outputs and next states are replaced alike", () => {
  const graph = graphOf((builder, x) => {
    const state = builder.state("s", f32);
    const next = builder.one("neg", [x], {});
    builder.setNext(state, next);
    builder.output("y", next);
    builder.output("z", builder.one("add", [next, state], {}));
  });
  const after = definePass("abs", [swapNames("neg", "abs")]).run(graph);
  expect(after.states[0]!.next).toBe(after.outputs[0]!.value);
  expect(after.states[0]!.value).toBe(graph.states[0]!.value);
  expect(opsOf(after)).toEqual(["abs", "add"]);
});

test("uses counts operand positions, outputs and next states, as they are after earlier rewrites", () => {
  const seen: Record<string, number> = {};
  const graph = graphOf((builder, x) => {
    const a = builder.one("exp", [x], {}, { name: "a" });
    const b = builder.one("tanh", [a], {}, { name: "b" });
    const c = builder.one("neg", [a], {}, { name: "c" });
    const sum = builder.one("add", [builder.one("mul", [b, b], {}), c], {});
    builder.output("sum", sum);
    builder.output("a", a);
  });
  const look = rule("add", (node, context) => {
    const walk = (value: Value): void => {
      seen[value.name ?? "?"] = context.uses(value);
      if (value.origin.kind === "node") value.origin.node.operands.forEach(walk);
    };
    node.operands.forEach(walk);
    return undefined;
  });
  // Once `c` is replaced by x, `a` has one reader less.
  definePass("look", [
    rule("neg", (node) => (node.operands[0]!.origin as { node: Node }).node.operands[0]),
    look,
  ]).run(graph);
  expect(seen).toMatchObject({ a: 2, b: 2, x: 2 });
});

test("a value nobody reads any more reads nothing", () => {
  let uses = -1;
  const graph = graphOf((builder, x) => {
    const a = builder.one("exp", [x], {});
    const dropped = builder.one("neg", [builder.one("tanh", [builder.one("abs", [a], {})], {})], {});
    builder.output("y", builder.one("add", [dropped, builder.one("relu", [a], {})], {}));
  });
  definePass("drop", [
    rule("neg", (node) => derive(node, "exp", [graph.inputs[0]!], {}).results),
    rule("relu", (node, context) => {
      uses = context.uses(node.operands[0]!);
      return undefined;
    }),
  ]).run(graph);
  expect(uses).toBe(1);
});

test("10,000 nodes deep: no overflow, and each node is asked about a few times", () => {
  let asked = 0;
  const pass = definePass("abs", [
    rule(["neg", "abs"], (node) => {
      asked++;
      return node.op === "neg" ? remake(node, "abs", node.operands, {}).results : undefined;
    }),
  ]);
  const after = pass.run(chain(new Array(10_000).fill("neg")));
  expect(opsOf(after).every((op) => op === "abs")).toBe(true);
  expect(asked).toBe(30_000);
});

test("a rule that changes a type, loops, or feeds a value to itself is an error that names the pass", () => {
  const failing = (name: string, pass: Pass, pattern: RegExp) => {
    expect(() => pass.run(chain(["neg"])), name).toThrow(BitloomError);
    expect(() => pass.run(chain(["neg"])), name).toThrow(pattern);
  };
  const sum = rule(
    "neg",
    (node) => derive(node, "sum", node.operands, { axis: 0, keep_dims: false }).results,
  );
  failing(
    "type",
    definePass("retype", [sum]),
    /pass "retype".*changed the type[\s\S]*f32\[batch, 4\][\s\S]*f32\[4\]/,
  );
  const pingPong = definePass("ping-pong", [swapNames("neg", "abs"), swapNames("abs", "neg")]);
  failing("loop", pingPong, /pass "ping-pong": rules do not terminate/);
  const wrap = rule("neg", (node) => derive(node, "exp", node.results, {}).results);
  failing("cycle", definePass("wrap", [wrap]), /pass "wrap".*depends on itself/);
});

test("runPasses runs in order, reports, and names the pass that breaks the graph", () => {
  const seen: string[] = [];
  const passes = [definePass("one", [swapNames("neg", "abs")]), definePass("two", [swapNames("abs", "exp")])];
  const after = runPasses(chain(["neg"]), passes, { verify: true, onPass: (pass) => seen.push(pass.name) });
  expect(opsOf(after)).toEqual(["exp"]);
  expect(seen).toEqual(["one", "two"]);
  const broken: Pass = { name: "forget-inputs", run: (graph) => ({ ...graph, inputs: [] }) };
  expect(() => runPasses(chain(["neg"]), [broken], { verify: true })).toThrow(/after pass "forget-inputs"/);
  expect(() => runPasses(chain(["neg"]), [broken])).not.toThrow();
});

test("rebuild may change types", () => {
  const graph = chain(["neg", "abs"]);
  const after = rebuild(graph, { leaf: (value) => ({ ...value, type: dense("f32", [3, 4]) }) });
  expect(after.outputs[0]!.value.type.dims).toEqual([3, 4]);
  expect(after.outputs[0]!.value.name).toBe(graph.outputs[0]!.value.name);
});
