import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fakeArtifact, writeArtifact } from "../test/support/fake-artifact.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-process-"));
  await writeArtifact((await fakeArtifact()).files, join(folder, "artifact"));
  const bundle = await rolldown({
    input: fileURLToPath(new URL("./index.ts", import.meta.url)),
    platform: "neutral",
    logLevel: "silent",
    resolve: { mainFields: ["module", "main"] },
  });
  await bundle.write({ file: join(folder, "runtime.mjs"), format: "esm", codeSplitting: false });
  await bundle.close();
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a program in a Node of its own; rejects when it does not end by itself. */
async function node(program: string): Promise<string> {
  const file = join(folder, "program.mjs");
  await writeFile(
    file,
    `import { load } from "./runtime.mjs";\nconst artifact = ${JSON.stringify(join(folder, "artifact"))};\n${program}`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 20_000 });
  return stdout.trim();
}

it("a model that nobody disposes of keeps no process alive, even from its threads", async () => {
  const program = `
    const model = await load(artifact, { threads: 3 });
    const { participants } = await model.run({ x: new Float32Array(4) });
    console.log(participants.data[0]);`;
  expect(await node(program)).toBe("3");
});

it("loading keeps the process alive until it is done, and so does nothing after dispose", async () => {
  const program = `
    load(artifact, { threads: 2 }).then(async (model) => {
      await model.dispose();
      console.log("disposed");
    });`;
  expect(await node(program)).toBe("disposed");
});
