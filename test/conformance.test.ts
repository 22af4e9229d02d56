/**
 * The WASM target against the reference interpreter, op by op and with every variant and number of threads that
 * this engine runs; `relaxed.test.ts` has the variants it does not.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpuRules } from "../codegen/schedule/cpu/rules.ts";
import type { InterpretResult } from "../ir/interpret.ts";
import { type OpName, ops } from "../ir/ops/index.ts";
import { comparisons } from "./support/comparisons.ts";
import { graphs } from "./support/random-graph.ts";
import { WasmProgram, type WasmTensors } from "./support/run-wasm.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { hardTrials, nodeTrials, type Trial } from "./support/trials.ts";

/** Runs with every variant and in shares, which must not differ in a bit. */
function runVariants(program: WasmProgram, entry: string, tensors: WasmTensors): InterpretResult {
  const expected = program.run(entry, tensors);
  for (const options of [{ threads: 3 }, { threads: 2, reversed: true, relaxed: true }]) {
    expectSameResults(program.run(entry, tensors, options), expected, JSON.stringify(options));
  }
  return expected;
}

async function attempt({ graphs, runs, check }: Trial): Promise<void> {
  const program = await WasmProgram.compile(graphs);
  check(runs.map(({ entry, tensors }) => runVariants(program, entry, tensors)));
}

const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;

function check(names: readonly OpName[], runs: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(graphs({ ops: names, size: 6, castTo }), fc.integer(), async (graph, seed) => {
      for (const trial of nodeTrials(graph, seed)) await attempt(trial);
    }),
    { numRuns: runs },
  );
}

describe("vectors that break kernels", () => {
  test.each(hardTrials().map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

describe("the WASM target op by op", () => {
  test("covers just the ops it says it covers", () => {
    for (const op of Object.keys(ops) as OpName[]) {
      expect("uncovered" in Object(cpuRules[op]), op).toBe("uncovered" in Object(comparisons[op]));
    }
  });

  test("elementwise", () =>
    check(
      [
        "neg",
        "abs",
        "sign",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "relu",
        "relu2",
        "to_f32",
        "add",
        "sub",
        "mul",
        "div",
      ],
      30,
    ));
  test("fused elementwise, cast, maximum and minimum", () =>
    check(["elementwise", "cast", "max", "min"], 40));
  test("math functions", () =>
    check(["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"], 30));
  test("reductions", () => check(["sum", "mean", "max_reduce", "min_reduce", "transpose"], 40));
  test("movement", () =>
    check(["reshape", "transpose", "slice", "concat", "cast", "broadcast", "pad", "axis_length"], 30));
  test("rows", () => check(["rms_norm", "softmax", "transpose", "slice"], 40));
  test("top k", () => check(["top_k", "neg", "transpose", "slice"], 40));
  test("quantize", () => check(["quantize"], 40));
  test("ternary products", () => check(["ternary_matmul", "quantize"], 25));
  test("linear", () => check(["linear"], 20));
  test("embedding", () => check(["embedding"], 30));
  test("rope, cache and attention", () => check(["rope", "cache_write", "attention", "reshape"], 40));
});
