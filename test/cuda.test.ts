/**
 * The CUDA target against the reference interpreter, op by op, as the other targets are: the emitted CUDA C runs on a
 * card where there is one, compiled by nvcc, and otherwise on the processor, compiled by g++
 * (test/support/cuda/cuda-host.h).
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { interpret } from "../ir/interpret.ts";
import type { OpName } from "../ir/ops/index.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { cachedAttentionOptions, cachedAttentionTrial } from "./support/cached-attention.ts";
import { cudaTier } from "./support/comparisons.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, randomTensors } from "./support/random-graph.ts";
import { CudaHost, CudaProgram } from "./support/run-cuda.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { converse, smallModel } from "./support/small-model.ts";
import { hardTrials, nodeTrials, type Trial } from "./support/trials.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let host: CudaHost;
beforeAll(async () => {
  host = await CudaHost.open();
});
afterAll(() => host?.close());

async function attempt({ graphs, runs, check }: Trial): Promise<void> {
  const program = await CudaProgram.compile(graphs, host);
  const received = [];
  for (const { entry, tensors } of runs) received.push(await program.run(entry, tensors));
  check(received, cudaTier);
}

/** Compiles the kernels of many graphs together, which takes a tenth of the time. */
async function prepare(many: readonly Trial["graphs"][]): Promise<void> {
  const programs = await Promise.all(many.map((graphs) => CudaProgram.compile(graphs, host)));
  await host.prepare(programs.flatMap(({ kernels }) => kernels));
}

/** Asserts a property of which `graphsOf` says beforehand what it will compile. */
async function assertPrepared<T>(
  values: fc.Arbitrary<T>,
  graphsOf: (value: T) => readonly Trial["graphs"][],
  holds: (value: T) => Promise<void>,
  numRuns: number,
): Promise<void> {
  const { seed = 0 } = fc.readConfigureGlobal() ?? {};
  await prepare(fc.sample(values, { seed, numRuns }).flatMap(graphsOf));
  await fc.assert(fc.asyncProperty(values, holds), { seed, numRuns });
}

const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;

function check(names: readonly OpName[], runs: number): Promise<void> {
  const trialsOf = ([graph, seed]: [Parameters<typeof nodeTrials>[0], number]) =>
    nodeTrials(graph, seed, cudaTier);
  return assertPrepared(
    fc.tuple(graphs({ ops: names, size: 6, castTo }), fc.integer()),
    (value) => trialsOf(value).map((trial) => trial.graphs),
    async (value) => {
      for (const trial of trialsOf(value)) await attempt(trial);
    },
    runs,
  );
}

describe("vectors that break kernels", () => {
  const trials = hardTrials();
  beforeAll(() => prepare(trials.map((trial) => trial.graphs)));
  test.each(trials.map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

describe("whole graphs on the CUDA target", () => {
  test("attention over caches that get new rows, and near misses", () =>
    assertPrepared(
      fc.tuple(cachedAttentionOptions, fc.integer()),
      ([options, seed]) => [cachedAttentionTrial(options, seed).graphs],
      ([options, seed]) => attempt(cachedAttentionTrial(options, seed)),
      20,
    ));

  test("random graphs of exact ops give the interpreter's bits, fused or not", () =>
    assertPrepared(
      fc.tuple(graphs({ ops: exactOps, exact: true, size: 16, castTo }), fc.integer()),
      ([graph]) => [{ run: graph, fused: runForwardPipeline(graph) }],
      async ([graph, seed]) => {
        const program = await CudaProgram.compile({ run: graph, fused: runForwardPipeline(graph) }, host);
        const tensors = randomTensors(graph, new Random(seed));
        const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
        const expected = interpret(graph, given);
        for (const entry of ["run", "fused"]) {
          expectSameResults(await program.run(entry, given), expected, entry);
        }
      },
      25,
    ));

  test("a language model prefills in chunks and decodes, its states carried from call to call", async () => {
    const { reference, entries } = smallModel();
    const program = await CudaProgram.compile(entries, host);
    await converse(reference, (entry, tensors) => program.run(entry, tensors));
  });
});

describe("the CUDA target op by op", () => {
  test("elementwise", () =>
    check(
      ["neg", "abs", "sqrt", "rsqrt", "reciprocal", "relu", "relu2", "to_f32", "add", "sub", "mul", "div"],
      12,
    ));
  test("fused elementwise, cast, maximum and minimum", () =>
    check(["elementwise", "cast", "max", "min"], 12));
  test("math functions", () =>
    check(["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"], 12));
  test("reductions", () => check(["sum", "mean", "max_reduce", "min_reduce", "transpose"], 12));
  test("movement", () => check(["reshape", "transpose", "slice", "concat", "cast"], 12));
  test("rows", () => check(["rms_norm", "softmax", "transpose", "slice"], 8));
  test("quantize", () => check(["quantize"], 6));
  test("ternary products", () => check(["ternary_matmul", "quantize"], 4));
  test("linear", () => check(["linear"], 3));
  test("embedding", () => check(["embedding"], 8));
  test("rope, cache and attention", () => check(["rope", "cache_write", "attention", "reshape"], 5));
});
