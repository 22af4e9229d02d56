/**
 * Kernels for relaxed SIMD, in a browser's engine: Node 20 has none. One kernel has a relaxed form,
 * `ternary_matmul`, and what is relaxed in it is exact: a dot product whose second operand stays in 0..127 is a
 * sum of integers in any order. So both forms have the same bits, also with scales for groups (integers within a
 * group, and the same f32 sum over groups), and every other kernel is the same function in both modules. Only a
 * NaN's payload may differ.
 */
import fc from "fast-check";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { topologicalOrder } from "../ir/graph.ts";
import { interpret } from "../ir/interpret.ts";
import type { OpName } from "../ir/ops/index.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { printGraph } from "../ir/text/print.ts";
import { launchBrowser } from "./support/browser.ts";
import { castTo, runnableOps } from "./support/op-groups.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, type RandomGraphOptions, randomTensors } from "./support/random-graph.ts";
import { type Replay, replayInBrowser } from "./support/replay-page.ts";
import { replayed, WasmProgram, type WasmRecording } from "./support/run-wasm.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { hardTrials, nodeTrials, type Trial } from "./support/trials.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser?.close());

/**
 * Compiles each trial and computes it with both modules in the browser and with the baseline's here. Gives how
 * many had a relaxed kernel.
 */
async function attempt(trials: readonly Trial[]): Promise<number> {
  const planned: { trial: Trial; program: WasmProgram; recordings: WasmRecording[] }[] = [];
  for (const trial of trials) {
    const program = await WasmProgram.compile(trial.graphs);
    const recordings = trial.runs.map(({ entry, tensors }) => program.record(entry, tensors));
    planned.push({ trial, program, recordings });
  }
  const replays: Replay[] = planned.flatMap(({ program: { binaries }, recordings }) =>
    recordings.map((recording) => ({
      recording,
      variants: [
        { binary: binaries.relaxed, threads: 1 },
        { binary: binaries.relaxed, threads: 3, reversed: true },
        { binary: binaries.baseline, threads: 1 },
      ],
    })),
  );
  const results = await replayInBrowser(browser, replays);
  let next = 0;
  for (const { trial, program, recordings } of planned) {
    const relaxed = recordings.map((recording, i) => {
      const { entry, tensors } = trial.runs[i]!;
      const here = program.run(entry, tensors);
      const [first, ...others] = results[next++]!.map((result) => replayed(recording, result));
      for (const received of [first!, ...others]) expectSameResults(received, here, trial.name);
      return first!;
    });
    trial.check(relaxed);
  }
  return planned.filter(({ program: { binaries } }) => binaries.relaxed !== binaries.baseline).length;
}

/** Random graphs with the seeds of their tensors. */
function samples(options: RandomGraphOptions, count: number) {
  return fc.sample(fc.record({ graph: graphs({ castTo, ...options }), seed: fc.integer() }), count);
}

const opByOp = (ops: readonly OpName[], count: number): Trial[] =>
  samples({ ops, size: 6 }, count).flatMap(({ graph, seed }) => nodeTrials(graph, seed));

/** Whole graphs after every pass; those of exact ops must have the bits of the graph before them. */
function wholeGraphs(options: RandomGraphOptions, count: number): Trial[] {
  return samples({ size: 16, ...options }, count).map(({ graph, seed }) => {
    const { symbols, ...given } = randomTensors(graph, new Random(seed));
    const tensors = { ...given, symbols: Object.fromEntries(symbols) };
    return {
      name: `tensors of seed ${seed} for ${printGraph(graph)}`,
      graphs: { run: runForwardPipeline(graph) },
      runs: [{ entry: "run", tensors }],
      check([received]) {
        if (options.exact) expectSameResults(received!, interpret(graph, tensors), "interpreted");
      },
    };
  });
}

describe("in a browser with relaxed SIMD, every module gives the bits of the baseline here", () => {
  test("vectors that break kernels", async () => {
    const trials = hardTrials();
    const products = trials.filter(({ graphs }) =>
      Object.values(graphs).some((graph) =>
        topologicalOrder(graph).some(({ op }) => op === "ternary_matmul"),
      ),
    );
    expect(await attempt(trials)).toBe(products.length);
  });
  test("ternary products and quantizers", async () => {
    expect(await attempt(opByOp(["ternary_matmul", "quantize"], 30))).toBeGreaterThan(10);
  });
  test("linear with every encoding, and embedding", () => attempt(opByOp(["linear", "embedding"], 15)));
  test("attention, norms and softmax", () =>
    attempt(opByOp(["rope", "cache_write", "attention", "reshape", "rms_norm", "softmax"], 15)));
  test("elementwise, reductions and movement", () =>
    attempt(
      opByOp(
        ["elementwise", "gelu", "exp", "cast", "mean", "max_reduce", "transpose", "slice", "concat"],
        15,
      ),
    ));
  test("whole graphs of exact ops", async () => {
    // Named more than once, products are frequent.
    const products = Array<readonly OpName[]>(4).fill(["bit_linear", "ternary_matmul"]).flat();
    const trials = wholeGraphs({ ops: [...exactOps, ...products], exact: true }, 20);
    expect(await attempt(trials)).toBeGreaterThan(10);
  });
  test("whole graphs of all ops", () => attempt(wholeGraphs({ ops: runnableOps }, 30)));
});
