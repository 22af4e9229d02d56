/**
 * The WASM target against the reference interpreter, op by op and with every variant and number of threads that
 * this engine runs; `relaxed.test.ts` has the variants it does not.
 */
import { describe, test } from "vitest";
import type { InterpretResult } from "../ir/interpret.ts";
import { latentTrials } from "./support/latent-trials.ts";
import { attemptGroup, groupsOf } from "./support/op-groups.ts";
import { WasmProgram, type WasmTensors } from "./support/run-wasm.ts";
import { expectSameResults } from "./support/same-bits.ts";
import { hardTrials, type Trial } from "./support/trials.ts";

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

describe("vectors that break kernels", () => {
  test.each(hardTrials().map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

describe("weights that a call packs", () => {
  test.each(latentTrials().map((trial) => [trial.name, trial] as const))("%s", (_, trial) => attempt(trial));
});

describe("the WASM target op by op", () => {
  test.each(groupsOf("wasm"))("%s", (_, group, runs) => attemptGroup(group, runs, { attempt }));
});
