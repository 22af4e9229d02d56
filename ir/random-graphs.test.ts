import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { Random } from "../test/support/random.ts";
import { graphs, randomTensors } from "../test/support/random-graph.ts";
import { expectSameBits } from "../test/support/same-bits.ts";
import { topologicalOrder } from "./graph.ts";
import { interpret } from "./interpret.ts";
import { type OpName, ops } from "./ops/index.ts";
import { parseGraph } from "./text/parse.ts";
import { printGraph } from "./text/print.ts";
import { verifyGraph } from "./verify.ts";

describe("random graphs", () => {
  test.prop([graphs()], { numRuns: 300 })("pass the verifier", (graph) => {
    verifyGraph(graph);
  });

  test.prop([graphs({ size: 20 })], { numRuns: 300 })("print, parse, print is the identity", (graph) => {
    const text = printGraph(graph);
    const again = parseGraph(text);
    verifyGraph(again);
    expect(printGraph(again)).toBe(text);
  });

  test.prop([graphs(), fc.integer()], { numRuns: 150 })(
    "mean the same after print and parse",
    (graph, seed) => {
      const tensors = randomTensors(graph, new Random(seed));
      const first = interpret(graph, tensors);
      const second = interpret(parseGraph(printGraph(graph)), tensors);
      expect(Object.keys(second.outputs)).toEqual(Object.keys(first.outputs));
      for (const [name, tensor] of Object.entries(first.outputs))
        expectSameBits(second.outputs[name]!, tensor, name);
      for (const [name, tensor] of Object.entries(first.states))
        expectSameBits(second.states[name]!, tensor, name);
    },
  );

  test.prop([graphs(), fc.integer()], { numRuns: 150 })("evaluate to the types inferred", (graph, seed) => {
    interpret(graph, {
      ...randomTensors(graph, new Random(seed)),
      onNode: (node, _operands, results) => {
        for (const [i, { type, data }] of results.entries()) {
          const { dtype, dims, encoding } = node.results[i]!.type;
          expect({ dtype: type.dtype, encoding: type.encoding }, node.op).toEqual({ dtype, encoding });
          expect(data.length, node.op).toBe(type.dims.reduce((product, dim) => product * dim, 1));
          expect(type.dims.length, node.op).toBe(dims.length);
        }
      },
    });
  });

  test("cover every op", () => {
    const seen = new Set<OpName>();
    for (const graph of fc.sample(graphs({ size: 20 }), { numRuns: 300, seed: 1 })) {
      for (const node of topologicalOrder(graph)) seen.add(node.op);
    }
    expect(Object.keys(ops).filter((op) => !seen.has(op as OpName))).toEqual([]);
  });

  test.prop([graphs({ ops: ["quantize", "ternary_matmul", "add"] })])(
    "use only the ops asked for",
    (graph) => {
      for (const node of topologicalOrder(graph))
        expect(["quantize", "ternary_matmul", "add"]).toContain(node.op);
    },
  );
});

describe("the parser on garbage", () => {
  const isCoded = (error: unknown) => error instanceof Error && error.name === "BitloomError";

  /** Parses, and lets only Bitloom's own errors pass. */
  function survive(text: string): void {
    try {
      printGraph(parseGraph(text));
    } catch (error) {
      if (!isCoded(error)) throw error;
    }
  }

  test.prop([fc.string({ unit: "binary", maxLength: 200 })])("survives random text", survive);

  const fragments = [
    "graph ",
    "@g",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "%x",
    "%0",
    ":",
    "=",
    ",",
    " input ",
    "f32",
    "i32",
    " parameter ",
    '"p"',
    "ternary(row)",
    "neg",
    "quantize",
    "return ",
    "next ",
    "y",
    "3",
    "-1e9",
    "nan",
    "bits",
    "<=",
    "\n",
  ];
  test.prop([fc.array(fc.constantFrom(...fragments), { maxLength: 60 })])(
    "survives random tokens",
    (tokens) => {
      survive(tokens.join(""));
    },
  );

  test.prop([graphs(), fc.integer(), fc.integer({ min: 1, max: 4 })], { numRuns: 500 })(
    "survives altered graphs",
    (graph, seed, edits) => {
      const random = new Random(seed);
      let text = printGraph(graph);
      for (let i = 0; i < edits; i++) {
        const [from, other] = [random.int(0, text.length), random.int(0, text.length)];
        const length = random.pick([0, 1, 1, 5, 40]);
        const piece = random.pick(["", text.slice(other, other + length), random.pick(fragments)]);
        text = text.slice(0, from) + piece + text.slice(from + length);
      }
      survive(text);
    },
  );
});
