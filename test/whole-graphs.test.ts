/**
 * Whole graphs on the WASM target: shared and reused memory, views of views, states, several entries. Ops whose
 * results are exact give the interpreter's bits; a language model stays close to it.
 */
import fc from "fast-check";
import { test } from "vitest";
import { interpret } from "../ir/interpret.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, randomTensors } from "./support/random-graph.ts";
import { WasmProgram } from "./support/run-wasm.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { converse, smallModel } from "./support/small-model.ts";

test("random graphs of exact ops give the interpreter's bits, fused or not, however often they run", () =>
  fc.assert(
    fc.asyncProperty(
      graphs({
        ops: exactOps,
        exact: true,
        size: 16,
        castTo: ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"],
      }),
      fc.integer(),
      async (graph, seed) => {
        const program = await WasmProgram.compile({ run: graph, fused: runForwardPipeline(graph) });
        for (const threads of [1, 2, 3]) {
          const tensors = randomTensors(graph, new Random(seed + threads));
          const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
          const expected = interpret(graph, given);
          for (const entry of ["run", "fused"]) {
            expectSameResults(
              program.run(entry, given, { threads, reversed: threads === 2 }),
              expected,
              `${entry}, ${threads} threads`,
            );
          }
        }
      },
    ),
    { numRuns: 120 },
  ));

test("a language model prefills in chunks and decodes, its states carried from call to call", async () => {
  const { reference, entries } = smallModel();
  const program = await WasmProgram.compile(entries);
  await converse(reference, (entry, tensors) => program.run(entry, tensors, { threads: 2 }));
});
