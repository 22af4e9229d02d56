import { describe, expect, test } from "vitest";
import { GraphBuilder, makeNode } from "./builder.ts";
import { topologicalOrder, users } from "./graph.ts";
import { dense } from "./types.ts";

function small() {
  const builder = new GraphBuilder("g");
  const n = builder.symbol("n", { max: 4 });
  return { builder, n, x: builder.input("x", dense("f32", [n, 3])) };
}

describe("GraphBuilder", () => {
  test("builds what it was told, in order", () => {
    const { builder, n, x } = small();
    const w = builder.parameter("w", dense("f32", [2, 3]));
    const k = builder.state("k", dense("f32", [n, 3]));
    const unchanged = builder.state("u", dense("f32", [1]));
    const y = builder.one("linear", [x, w], {}, { name: "y" });
    builder.setNext(k, builder.one("add", [k, x], {}));
    builder.output("y", y);
    const graph = builder.build();
    expect([...graph.symbols]).toEqual([["n", { max: 4 }]]);
    expect([graph.inputs, graph.parameters]).toEqual([[x], [w]]);
    expect(graph.states.map((state) => state.value)).toEqual([k, unchanged]);
    expect(graph.states[1]!.next).toBe(unchanged);
    expect(topologicalOrder(graph).map((node) => node.op)).toEqual(["linear", "add"]);
    expect(
      users(graph)
        .get(x)
        ?.map((node) => node.op),
    ).toEqual(["linear", "add"]);
  });

  test("a parameter asked for twice is one value, unless the types differ", () => {
    const { builder } = small();
    const w = builder.parameter("w", dense("f32", [2, 3]));
    expect(builder.parameter("w", dense("f32", [2, 3]))).toBe(w);
    expect(() => builder.parameter("w", dense("f32", [3, 2]))).toThrow("expected: f32[2, 3]");
  });

  test("refuses names that are taken, unknown dims and foreign states", () => {
    const { builder, x } = small();
    expect(() => builder.input("x", dense("f32", [1]))).toThrow('two inputs called "x"');
    builder.state("k", dense("f32", [1]));
    expect(() => builder.state("k", dense("f32", [1]))).toThrow("two states");
    builder.output("y", x);
    expect(() => builder.output("y", x)).toThrow("two outputs");
    expect(() => builder.symbol("n", { max: 5 })).toThrow("max 4, as declared before");
    expect(builder.symbol("n", { max: 4 })).toBe("n");
    expect(() => builder.symbol("a b", { max: 5 })).toThrow("INVALID_GRAPH");
    expect(() => builder.symbol("m", { max: 0 })).toThrow("INVALID_GRAPH");
    for (const dim of ["m", 0, -1, 1.5, Number.NaN]) {
      expect(() => builder.input("z", dense("f32", [dim]))).toThrow(`dimension ${dim}`);
    }
    expect(() => builder.setNext(x, x)).toThrow("takes a state");
    expect(() => builder.setNext(new GraphBuilder("other").state("k", dense("f32", [1])), x)).toThrow(
      "of this graph",
    );
  });

  test("a next state has its state's type", () => {
    const { builder, x } = small();
    expect(() => builder.setNext(builder.state("k", dense("f32", [3])), x)).toThrow("received: f32[n, 3]");
  });

  test("one refuses ops with several results, apply names them", () => {
    const { builder, x } = small();
    const attributes = { bits: 8, granularity: "row" } as const;
    expect(() => builder.one("quantize", [x], attributes)).toThrow("3 results");
    const results = builder.apply("quantize", [x], attributes, { names: ["q", undefined, "s"] });
    expect(results.map((value) => value.name)).toEqual(["q", undefined, "s"]);
  });

  test("a type error names both shapes and the user's line", () => {
    const { builder, x } = small();
    const w = builder.parameter("w", dense("f32", [2, 4]));
    const location = { file: "model.ts", line: 3, column: 9 };
    expect(() => builder.one("linear", [x, w], {}, { location })).toThrow(
      /x f32\[n, 3\], w f32\[2, 4\]\n {2}at: model\.ts:3:9/,
    );
  });
});

test("makeNode ties results to their node", () => {
  const { x } = small();
  const node = makeNode("quantize", [x], { bits: 8, granularity: "row" });
  expect(node.results.map((result) => result.origin)).toEqual(
    [0, 1, 2].map((index) => ({ kind: "node", node, index })),
  );
});

test("the order of a graph 100,000 nodes deep is found without recursion", () => {
  const { builder, x } = small();
  let y = x;
  for (let i = 0; i < 100_000; i++) y = builder.one("neg", [y], {});
  builder.output("y", y);
  expect(topologicalOrder(builder.build()).length).toBe(100_000);
});
