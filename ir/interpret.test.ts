import { describe, expect, test } from "vitest";
import { Random } from "../test/support/random.ts";
import { randomTensors } from "../test/support/random-graph.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph, Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import { tensor } from "./tensor.ts";
import { parseGraph } from "./text/parse.ts";
import { dense, encoded } from "./types.ts";

const counter = parseGraph(`graph @counter(n <= 4, m <= 4) {
  %x: input f32[n, 2]
  %y: input f32[n, m]
  %w: parameter "layer.w" f32[2]
  %k: state "k" f32[2]
  %a: f32[n, 2] = mul(%x, %w)
  %s: f32[2] = sum(%a) {axis = 0, keep_dims = false}
  %k1: f32[2] = add(%k, %s)
  next %k = %k1
  return a = %a, k = %k, y = %y
}`);
const parameters = { "layer.w": tensor("f32", [2], [10, 100]) };
const inputs = { x: tensor("f32", [3, 2], [1, 2, 3, 4, 5, 6]), y: tensor("f32", [3, 1], [7, 8, 9]) };

describe("interpret", () => {
  test("computes outputs and next states, states starting at zero", () => {
    const first = interpret(counter, { inputs, parameters });
    expect([...first.outputs.a!.data]).toEqual([10, 200, 30, 400, 50, 600]);
    expect(first.outputs.a!.type).toEqual({ dtype: "f32", dims: [3, 2] });
    expect([...first.outputs.k!.data]).toEqual([0, 0]);
    expect([...first.states.k!.data]).toEqual([90, 1200]);
    expect([...first.symbols]).toEqual([
      ["n", 3],
      ["m", 1],
    ]);
    const second = interpret(counter, { inputs, parameters, states: first.states });
    expect([...second.states.k!.data]).toEqual([180, 2400]);
    expect([...first.states.k!.data]).toEqual([90, 1200]);
  });

  test("takes tensors from maps too", () => {
    const result = interpret(counter, {
      inputs: new Map(Object.entries(inputs)),
      parameters: new Map(Object.entries(parameters)),
    });
    expect([...result.states.k!.data]).toEqual([90, 1200]);
  });

  test("shows every node as it runs", () => {
    const seen: string[] = [];
    interpret(counter, {
      inputs,
      parameters,
      onNode: (node, operands, results) => seen.push(`${operands.length} ${node.op} ${results.length}`),
    });
    expect(seen).toEqual(["2 mul 1", "1 sum 1", "2 add 1"]);
  });

  test.each([
    ["a missing input", { inputs: { x: inputs.x }, parameters }, 'input "y"'],
    ["a missing parameter", { inputs, parameters: {} }, 'parameter "layer.w"'],
    [
      "another dtype",
      { inputs: { ...inputs, x: tensor("i32", [3, 2], [1, 2, 3, 4, 5, 6]) }, parameters },
      "i32[3, 2]",
    ],
    [
      "another rank",
      { inputs: { ...inputs, y: tensor("f32", [3], [1, 2, 3]) }, parameters },
      "No input's shape tells the symbol m",
    ],
    [
      "another literal",
      { inputs: { ...inputs, x: tensor("f32", [3, 1], [1, 2, 3]) }, parameters },
      "expected: f32[3, 2]",
    ],
    [
      "a symbol bound twice",
      { inputs: { ...inputs, y: tensor("f32", [2, 1], [1, 2]) }, parameters },
      'Axis 0 of "y" binds n to 2',
    ],
    [
      "a symbol beyond its bound",
      { inputs: { ...inputs, y: tensor("f32", [3, 5], new Array(15).fill(0)) }, parameters },
      "binds m to 5",
    ],
    ["a contradicting symbol", { inputs, parameters, symbols: { n: 2 } }, "binds n to 3"],
    ["an undeclared symbol", { inputs, parameters, symbols: { q: 2 } }, "binds q to 2"],
  ])("refuses %s", (_what, options, message) => {
    expect(() => interpret(counter, options)).toThrow(message);
    expect(() => interpret(counter, options)).toThrow("INVALID_INPUT");
  });

  test("a symbol that no input tells is given, or a coded error", () => {
    const graph = parseGraph(`graph @g(slots <= 4) {
      %k: state "k" f32[slots]
      return k = %k
    }`);
    expect(() => interpret(graph, { inputs: {}, parameters: {} })).toThrow("symbol slots");
    const { outputs } = interpret(graph, { inputs: {}, parameters: {}, symbols: { slots: 3 } });
    expect([...outputs.k!.data]).toEqual([0, 0, 0]);
  });
});

/** A decoder of 3.4M weights, the size of the checkpoints that examples ship. */
function decoder(): Graph {
  const [hidden, inner, vocabulary, heads, keyHeads] = [256, 688, 2048, 4, 2];
  const builder = new GraphBuilder("decoder");
  const [batch, seq, slots] = [
    builder.symbol("batch", { max: 1 }),
    builder.symbol("seq", { max: 16 }),
    builder.symbol("slots", { max: 1 }),
  ];
  const tokens = builder.input("tokens", dense("i32", [batch, seq]));
  const positions = builder.input("positions", dense("i32", [batch]));
  const slot = builder.input("slots", dense("i32", [batch]));
  const table = builder.parameter("embed", dense("f32", [vocabulary, hidden]));
  const tables = (["cos", "sin"] as const).map((fn) =>
    builder.one("rope_table", [], { theta: 5e5, dim: 64, length: 32, fn }),
  );
  let x = builder.one("embedding", [table, tokens], {});
  let count = 0;
  const project = (from: Value, n: number, k: number) =>
    builder.one(
      "bit_linear",
      [from, builder.parameter(`w${count++}`, encoded([n, k], { kind: "ternary", scale: "tensor" }))],
      {
        weight_scale: "tensor",
        activation: { bits: 8, granularity: "row" },
      },
    );
  for (let layer = 0; layer < 4; layer++) {
    const normed = builder.one("rms_norm", [x, builder.parameter(`n${layer}`, dense("f32", [hidden]))], {
      eps: 1e-5,
    });
    const head = (n: number) =>
      builder.one("reshape", [project(normed, n * 64, hidden)], { dims: [batch, seq, n, 64] });
    const rotate = (value: Value) => builder.one("rope", [value, ...tables, positions], {});
    const [q, k, v] = [rotate(head(heads)), rotate(head(keyHeads)), head(keyHeads)];
    const caches = [k, v].map((value, i) => {
      const cache = builder.state(`${layer}.${i}`, dense("f32", [slots, 32, keyHeads, 64]));
      const next = builder.one("cache_write", [cache, value, slot, positions], {});
      builder.setNext(cache, next);
      return next;
    });
    const attended = builder.one("attention", [q, ...caches, slot, positions], { scale: 0.125 });
    x = builder.one(
      "add",
      [x, project(builder.one("reshape", [attended], { dims: [batch, seq, hidden] }), hidden, hidden)],
      {},
    );
    const gated = builder.one(
      "mul",
      [builder.one("relu2", [project(x, inner, hidden)], {}), project(x, inner, hidden)],
      {},
    );
    x = builder.one("add", [x, project(gated, hidden, inner)], {});
  }
  builder.output("logits", builder.one("linear", [x, table], {}));
  return builder.build();
}

test("a decoder of 3.4M weights takes ten tokens in well under a second, and decodes as it prefills", () => {
  const graph = decoder();
  const tensors = randomTensors(graph, new Random(1), { batch: 1, seq: 10 });
  const at = (position: number) => ({ ...tensors.inputs, positions: tensor("i32", [1], [position]) });
  const start = performance.now();
  const whole = interpret(graph, { ...tensors, inputs: at(0) });
  // Generous: the machine may be busy with other tests.
  expect(performance.now() - start).toBeLessThan(3000);
  const ids = tensors.inputs.tokens!.data;
  const split = (from: number, to: number) => ({
    ...at(from),
    tokens: tensor("i32", [1, to - from], [...ids.slice(from, to)]),
  });
  const { symbols: _, ...leaves } = tensors;
  const first = interpret(graph, { ...leaves, inputs: split(0, 7) });
  const second = interpret(graph, { ...leaves, states: first.states, inputs: split(7, 10) });
  expect([...second.outputs.logits!.data]).toEqual([...whole.outputs.logits!.data.slice(7 * 2048)]);
});
