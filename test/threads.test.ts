/**
 * The real driver: artifacts made in memory, loaded by the runtime, run by one to four threads here and in a
 * browser, which takes the relaxed modules. Every call has the bits of the same steps walked one by one on a
 * single thread, whatever the symbols' values and the states left by the calls before.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { GraphBuilder } from "../ir/builder.ts";
import type { Graph } from "../ir/graph.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { specialize } from "../ir/passes/specialize.ts";
import type { Tensor } from "../ir/tensor.ts";
import { printGraph } from "../ir/text/print.ts";
import { dense } from "../ir/types.ts";
import { loadLanguageModel } from "../runtime/index.ts";
import { openCheckpoint } from "../src/checkpoint/huggingface.ts";
import { compileCheckpoint } from "../src/compiler/checkpoint.ts";
import { askWorker, launchBrowser } from "./support/browser.ts";
import { bundleForBrowser } from "./support/bundle.ts";
import { checkpoints } from "./support/checkpoints.ts";
import { type ArtifactFiles, memoryArtifact } from "./support/memory-artifact.ts";
import { castTo, runnableOps } from "./support/op-groups.ts";
import { Random } from "./support/random.ts";
import { graphs, randomTensors } from "./support/random-graph.ts";
import { type ArtifactCalls, type ArtifactResults, runArtifact } from "./support/run-artifact.ts";
import { WasmProgram } from "./support/run-wasm.ts";
import { expectSameBits } from "./support/same-bits.ts";

const THREADS = [1, 2, 3, 4];

/** Values of the symbols call after call: down and up, so that a call finds what a larger one left. */
const symbolValues = [
  { batch: 2, seq: 3 },
  { batch: 3, seq: 5 },
  { batch: 1, seq: 1 },
  { batch: 3, seq: 1 },
  { batch: 1, seq: 4 },
];

interface Case {
  readonly name: string;
  readonly files: ArtifactFiles;
  readonly calls: ArtifactCalls["calls"];
  /** The outputs of each call. */
  readonly expected: readonly Readonly<Record<string, Tensor>>[];
}

/** A graph that also returns the next value of every state. */
function withStates(graph: Graph): Graph {
  const fixed = graph.symbols.has("slots") ? specialize(graph, { slots: 4 }) : graph;
  const states = fixed.states.map(({ next }, i) => ({ name: `state ${i}`, value: next }));
  return { ...fixed, outputs: [...fixed.outputs, ...states] };
}

async function randomCase(traced: Graph, seed: number): Promise<Case> {
  const graph = runForwardPipeline(withStates(traced));
  const program = await WasmProgram.compile({ run: graph });
  const random = new Random(seed);
  const { parameters } = randomTensors(graph, random);
  let states: Readonly<Record<string, Tensor>> = {};
  const calls: ArtifactCalls["calls"][number][] = [];
  const expected: Case["expected"][number][] = [];
  for (const values of symbolValues) {
    const { inputs, symbols } = randomTensors(graph, random, values);
    const result = program.run("run", { inputs, parameters, states, symbols: Object.fromEntries(symbols) });
    states = result.states;
    expected.push(result.outputs);
    calls.push(runtimeTensors(inputs));
  }
  const files = await memoryArtifact({ run: graph }, parameters, THREADS.at(-1)!);
  return { name: `tensors of seed ${seed} for ${printGraph(graph)}`, files, calls, expected };
}

function runtimeTensors(tensors: Readonly<Record<string, Tensor>>): ArtifactCalls["calls"][number] {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { data, type }]) => [name, { data, dims: type.dims }]),
  ) as ArtifactCalls["calls"][number];
}

function expectResults(received: ArtifactResults, { name, expected }: Case, threads: number): void {
  expect(received.device).toMatch(threads === 1 ? /1 thread$/ : new RegExp(`${threads} threads$`));
  for (const [i, outputs] of expected.entries()) {
    for (const [output, want] of Object.entries(outputs)) {
      const data = received.calls[i]![output] as Tensor["data"];
      expectSameBits({ ...want, data }, want, `${threads} threads, call ${i}, output "${output}" of ${name}`);
    }
  }
}

/** Logits of a prompt longer than a chunk, of tokens after it, and at every position of another text. */
async function languageModelLogits(artifact: string, threads: number): Promise<readonly Float32Array[]> {
  await using model = await loadLanguageModel(artifact, { threads });
  expect(model.device.threads).toBe(threads);
  const { chunkLength, vocabularySize } = model.info;
  const tokens = Int32Array.from({ length: chunkLength + 3 }, (_, i) => (i * i) % vocabularySize);
  const results = [await model.prefill([...tokens])];
  for (let i = 0; i < 8; i++)
    results.push(await model.decode(results.at(-1)!.indexOf(Math.max(...results.at(-1)!))));
  const { logits } = await model.run({
    tokens: { data: tokens.slice(0, 7), dims: [1, 7] },
    positions: Int32Array.of(5),
    slots: Int32Array.of(0),
  });
  return [...results, logits!.data as Float32Array];
}

let cases: readonly Case[];
beforeAll(async () => {
  const graph = graphs({ ops: runnableOps, size: 16, castTo });
  const samples = fc.sample(fc.record({ graph, seed: fc.integer() }), 16);
  cases = await Promise.all(samples.map(({ graph, seed }) => randomCase(graph, seed)));
  // Four modules of each are assembled.
}, 60_000);

describe("one to four threads give the bits of a single one", () => {
  test("in this process", async () => {
    for (const each of cases) {
      for (const threads of THREADS) expectResults(await runArtifact({ ...each, threads }), each, threads);
    }
  });

  test("a language model, prefilled in chunks and decoded", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitloom-threads-"));
    const checkpoint = await openCheckpoint(checkpoints["bitnet-tiny-packed"].folder);
    try {
      const out = join(folder, "artifact");
      await compileCheckpoint(checkpoint, { out });
      const single = await languageModelLogits(out, 1);
      for (const threads of THREADS.slice(1)) {
        for (const [i, logits] of (await languageModelLogits(out, threads)).entries()) {
          const dims = [logits.length];
          const as = (data: Float32Array): Tensor => ({ type: { dtype: "f32", dims }, data });
          expectSameBits(as(logits), as(single[i]!), `${threads} threads, logits ${i}`);
        }
      }
    } finally {
      await checkpoint.source.close();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("in a browser, with relaxed SIMD", async () => {
    const runner = await bundleForBrowser(
      fileURLToPath(new URL("./support/run-artifact.ts", import.meta.url)),
    );
    const answer = `
      import { runArtifact } from "./run-artifact.js";
      export default async ({ cases, threads }) => {
        const results = [];
        for (const each of cases) {
          for (const count of threads) results.push(await runArtifact({ ...each, threads: count }));
        }
        return results;
      };`;
    const browser = await launchBrowser();
    try {
      const results: ArtifactResults[] = await askWorker(
        browser,
        { answer, crossOriginIsolated: true, routes: { "/run-artifact.js": { text: runner } } },
        { cases: cases.map(({ files, calls }) => ({ files, calls })), threads: THREADS },
      );
      expect(results).toHaveLength(cases.length * THREADS.length);
      for (const [i, result] of results.entries()) {
        expect(result.device).toMatch(/relaxed SIMD/);
        expectResults(result, cases[Math.floor(i / THREADS.length)]!, THREADS[i % THREADS.length]!);
      }
    } finally {
      await browser.close();
    }
  });
});

test("a symbol that only states have is as large as their memory", async () => {
  const builder = new GraphBuilder("counters");
  const x = builder.input("x", dense("f32", [3]));
  const state = builder.state("counters", dense("f32", [builder.symbol("slots", { max: 4 }), 3]));
  const next = builder.one("add", [state, x], {});
  builder.setNext(state, next);
  builder.output("total", builder.one("sum", [next], { axis: 0, keep_dims: false }));
  const files = await memoryArtifact({ run: builder.build() }, {}, 2);
  const calls = [1, 10].map((value) => ({ x: Float32Array.of(value, -value, 0.5) }));
  const results = await runArtifact({ files, calls, threads: 2 });
  expect(results.calls.map(({ total }) => [...Array.from(total!)])).toEqual([
    [4, -4, 2],
    [44, -44, 4],
  ]);
});
