import { describe, expect, test } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { Random } from "../../test/support/random.ts";
import { randomTensors } from "../../test/support/random-graph.ts";
import { WasmProgram } from "../../test/support/run-wasm.ts";
import { EPSILON, expectWithin } from "../../test/support/tolerance.ts";

/** A graph that reduces every way along one axis. */
function reductions(dims: string, axis: number, results: string) {
  const ops = ["sum", "mean", "max_reduce", "min_reduce"];
  const nodes = ops.map((op) => `%${op}: f32[${results}] = ${op}(%x) {axis = ${axis}, keep_dims = false}`);
  return parseGraph(`graph @g(batch <= 3) {
    %x: input f32[${dims}]
    ${nodes.join("\n")}
    return ${ops.map((op) => `${op} = %${op}`).join(", ")}
  }`);
}

describe("reduction kernels", () => {
  test.each([
    ["batch, 65", 1, "batch"],
    ["batch, 3, 4", 2, "batch, 3"],
    ["batch, 7", 0, "7"],
    ["2, batch, 9", 1, "2, 9"],
    ["5, 6, 63", 0, "6, 63"],
    ["5, 6, 64", 1, "5, 64"],
    ["17", 0, ""],
    ["batch, 1", 1, "batch"],
  ])("f32[%s] along axis %i", async (dims, axis, results) => {
    const graph = reductions(dims, axis, results);
    const program = await WasmProgram.compile({ run: graph });
    for (const batch of [1, 2, 3]) {
      const tensors = randomTensors(graph, new Random(batch), { batch });
      const expected = interpret(graph, { ...tensors, symbols: { batch } }).outputs;
      for (const threads of [1, 3]) {
        const received = program.run("run", { ...tensors, symbols: { batch } }, { threads }).outputs;
        for (const [name, want] of Object.entries(expected)) {
          const exact = name.endsWith("reduce");
          // At most 65 terms of magnitude at most 60.
          expectWithin(received[name]!, want, () => (exact ? 0 : 65 * 65 * 60 * EPSILON), name);
        }
      }
    }
  });

  test("NaN is the maximum and the minimum of its row, wherever it stands", async () => {
    const graph = reductions("batch, 9", 1, "batch");
    const program = await WasmProgram.compile({ run: graph });
    for (let at = 0; at < 9; at++) {
      const x = tensor(
        "f32",
        [1, 9],
        Array.from({ length: 9 }, (_, i) => (i === at ? Number.NaN : i)),
      );
      const { outputs } = program.run("run", { inputs: { x }, parameters: {} });
      expect(outputs.max_reduce!.data[0]).toBeNaN();
      expect(outputs.min_reduce!.data[0]).toBeNaN();
    }
  });
});
