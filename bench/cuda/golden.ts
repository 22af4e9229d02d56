/**
 * PyTorch's greedy text for the tiny checkpoints, on the card: `golden.js FOLDER [--small]`, a folder for the artifacts
 * that it builds; small, for one prompt of each.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findMachine } from "../../runtime/devices/cuda/machine.ts";
import { type LanguageModel, load } from "../../runtime/index.ts";
import { openCheckpoint } from "../../src/checkpoint/huggingface.ts";
import { compileCheckpoint } from "../../src/compiler/checkpoint.ts";
import { type CheckpointName, checkpoints, readGolden } from "../../test/support/checkpoints.ts";
import { architecturesFor } from "./compile-here.ts";
import { report } from "./records.ts";

const {
  positionals: [folder = "."],
  values: { small },
} = parseArgs({ allowPositionals: true, options: { small: { type: "boolean", default: false } } });
const cudaArchitectures = architecturesFor(await findMachine());
for (const name of Object.keys(checkpoints) as CheckpointName[]) {
  const out = join(folder, name);
  const checkpoint = await openCheckpoint(checkpoints[name].folder);
  await compileCheckpoint(checkpoint, { out, targets: ["cuda"], cudaArchitectures });
  await checkpoint.source.close();
  const model = (await load(out, { device: "cuda" })) as LanguageModel;
  for (const { prompt, input_ids, greedy_ids } of (await readGolden(name)).slice(0, small ? 1 : undefined)) {
    const expected = greedy_ids.slice(input_ids.length);
    const options = { maxTokens: expected.length, ignoreStopTokens: true };
    const { tokens } = await model.generate(input_ids, options).finish();
    const passed = tokens.join() === expected.join();
    report({
      kind: "check",
      name: `greedy text of ${name} after ${JSON.stringify(prompt)}`,
      passed,
      ...(!passed && { detail: `${tokens} instead of ${expected}` }),
    });
    if (!passed) process.exitCode = 1;
  }
  await model.dispose();
}
