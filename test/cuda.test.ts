/**
 * The CUDA target against the reference interpreter, op by op, as the other targets are: the emitted CUDA C runs on a
 * card where there is one, compiled by nvcc, and otherwise on the processor, compiled by g++
 * (test/support/cuda/cuda-host.h).
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import type { Graph } from "../ir/graph.ts";
import { interpret } from "../ir/interpret.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { cachedAttentionOptions, cachedAttentionTrial } from "./support/cached-attention.ts";
import { cudaTier } from "./support/comparisons.ts";
import { missingPrograms } from "./support/cuda/host-library.ts";
import { attemptGroup, castTo, groupsOf } from "./support/op-groups.ts";
import { assertPrepared } from "./support/prepared.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, randomTensors } from "./support/random-graph.ts";
import { CudaHost, CudaProgram } from "./support/run-cuda.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { converse, smallModel } from "./support/small-model.ts";
import { hardTrials, type Trial } from "./support/trials.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const missing = missingPrograms("g++");

describe.skipIf(missing !== undefined)(`kernels on the processor (${missing ?? "through g++"})`, () => {
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
  async function prepare(trials: readonly Pick<Trial, "graphs">[]): Promise<void> {
    const programs = await Promise.all(trials.map(({ graphs }) => CudaProgram.compile(graphs, host)));
    await host.prepare(programs.flatMap(({ kernels }) => kernels));
  }

  describe("vectors that break kernels", () => {
    const trials = hardTrials();
    beforeAll(() => prepare(trials));
    test.each(trials.map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
  });

  describe("whole graphs on the CUDA target", () => {
    test("attention over caches that get new rows, and near misses", () =>
      assertPrepared(
        fc.tuple(cachedAttentionOptions, fc.integer()),
        (cases) => prepare(cases.map(([options, seed]) => cachedAttentionTrial(options, seed))),
        ([options, seed]) => attempt(cachedAttentionTrial(options, seed)),
        20,
      ));

    test("random graphs of exact ops give the interpreter's bits, fused or not", () => {
      const entries = (graph: Graph) => ({ run: graph, fused: runForwardPipeline(graph) });
      return assertPrepared(
        fc.tuple(graphs({ ops: exactOps, exact: true, size: 16, castTo }), fc.integer()),
        (cases) => prepare(cases.map(([graph]) => ({ graphs: entries(graph) }))),
        async ([graph, seed]) => {
          const program = await CudaProgram.compile(entries(graph), host);
          const tensors = randomTensors(graph, new Random(seed));
          const given = { ...tensors, symbols: Object.fromEntries(tensors.symbols) };
          const expected = interpret(graph, given);
          for (const entry of ["run", "fused"]) {
            expectSameResults(await program.run(entry, given), expected, entry);
          }
        },
        25,
      );
    });

    test("a language model prefills in chunks and decodes, its states carried from call to call", async () => {
      const { reference, entries } = smallModel();
      const program = await CudaProgram.compile(entries, host);
      await converse(reference, (entry, tensors) => program.run(entry, tensors));
    });
  });

  describe("the CUDA target op by op", () => {
    test.each(groupsOf("cuda"))("%s", (_, group, runs) =>
      attemptGroup(group, runs, { attempt, prepare, tier: cudaTier }),
    );
  });
});
