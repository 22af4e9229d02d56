/**
 * What the CUDA target is put to, whoever runs its kernels: the ordinary tests, and the benchmark that proves a card.
 * Each property fails where results are not the reference interpreter's.
 */
import fc from "fast-check";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { cachedAttentionOptions, cachedAttentionTrial } from "./cached-attention.ts";
import { cudaTier } from "./comparisons.ts";
import { latentTrials } from "./latent-trials.ts";
import { expectNanoTraining, nanoEntries, nanoSession } from "./nano-train.ts";
import { attemptGroup, castTo, groupsOf } from "./op-groups.ts";
import { assertPrepared } from "./prepared.ts";
import { Random } from "./random.ts";
import { exactOps, graphs, randomTensors } from "./random-graph.ts";
import { type CudaHost, CudaProgram } from "./run-cuda.ts";
import { expectSameResults } from "./same-bits.ts";
import { converse, smallModel } from "./small-model.ts";
import { hardTrials, type Trial } from "./trials.ts";

export interface CudaProperty {
  readonly name: string;
  holds(host: CudaHost): Promise<void>;
}

export interface CudaPropertyGroup {
  readonly name: string;
  /** Compiles what the properties have in common. */
  prepare?(host: CudaHost): Promise<void>;
  readonly properties: readonly CudaProperty[];
}

async function attempt(host: CudaHost, { graphs, runs, check }: Trial): Promise<void> {
  const program = await CudaProgram.compile(graphs, host);
  const received = [];
  for (const { entry, tensors } of runs) received.push(await program.run(entry, tensors));
  check(received, cudaTier);
}

/** Compiles the kernels of many graphs together, which takes a tenth of the time. */
async function prepare(host: CudaHost, trials: readonly Pick<Trial, "graphs">[]): Promise<void> {
  const programs = await Promise.all(trials.map(({ graphs }) => CudaProgram.compile(graphs, host)));
  await host.prepare(programs.flatMap(({ kernels }) => kernels));
}

function trialGroup(name: string, trials: readonly Trial[]): CudaPropertyGroup {
  return {
    name,
    prepare: (host) => prepare(host, trials),
    properties: trials.map((trial) => ({ name: trial.name, holds: (host) => attempt(host, trial) })),
  };
}

const entries = (graph: Graph) => ({ run: graph, fused: runForwardPipeline(graph) });

const wholeGraphs: CudaPropertyGroup = {
  name: "whole graphs on the CUDA target",
  properties: [
    {
      name: "attention over caches that get new rows, and near misses",
      holds: (host) =>
        assertPrepared(
          fc.tuple(cachedAttentionOptions, fc.integer()),
          (cases) =>
            prepare(
              host,
              cases.map(([options, seed]) => cachedAttentionTrial(options, seed)),
            ),
          ([options, seed]) => attempt(host, cachedAttentionTrial(options, seed)),
          20,
        ),
    },
    {
      name: "random graphs of exact ops give the interpreter's bits, fused or not",
      holds: (host) =>
        assertPrepared(
          fc.tuple(graphs({ ops: exactOps, exact: true, size: 16, castTo }), fc.integer()),
          (cases) =>
            prepare(
              host,
              cases.map(([graph]) => ({ graphs: entries(graph) })),
            ),
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
        ),
    },
    {
      name: "the reference implementation's training run",
      async holds(host) {
        const program = await CudaProgram.compile(await nanoEntries(), host);
        await expectNanoTraining(
          20,
          nanoSession((entry, tensors) => program.run(entry, tensors)),
        );
      },
    },
    {
      name: "a language model prefills in chunks and decodes, its states carried from call to call",
      async holds(host) {
        const { reference, entries } = smallModel();
        const program = await CudaProgram.compile(entries, host);
        await converse(reference, (entry, tensors) => program.run(entry, tensors));
      },
    },
  ],
};

const opByOp: CudaPropertyGroup = {
  name: "the CUDA target op by op",
  properties: groupsOf("cuda").map(([name, group, runs]) => ({
    name,
    holds: (host) =>
      attemptGroup(group, runs, {
        attempt: (trial) => attempt(host, trial),
        prepare: (trials) => prepare(host, trials),
        tier: cudaTier,
      }),
  })),
};

/** All of them. */
export function cudaProperties(): readonly CudaPropertyGroup[] {
  return [
    trialGroup("vectors that break kernels", hardTrials()),
    trialGroup("weights that a call packs", latentTrials()),
    wholeGraphs,
    opByOp,
  ];
}
