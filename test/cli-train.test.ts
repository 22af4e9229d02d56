/** `bitloom train` as a person types it: a run, Ctrl-C, and going on. */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, type InstalledPackage, installPackage } from "./support/cli.ts";

let installed: InstalledPackage;
let folder: string;
beforeAll(async () => {
  installed = await installPackage();
  folder = await mkdtemp(join(tmpdir(), "bitloom-cli-train-"));
  await writeFile(join(folder, "text.txt"), "to be or not to be, ".repeat(100));
  await writeFile(join(folder, "training.ts"), training(60));
  await writeFile(join(folder, "wrong.ts"), training(0));
}, 60_000);
afterAll(async () => {
  await installed?.dispose();
  await rm(folder, { recursive: true, force: true });
});

const training = (steps: number) => `
import { bitnet, constantRate, defineTraining, lambdaWarmup, twoStageDecay } from "bitloom";
const model = bitnet({
  name: "tiny", architecture: "BitNetForCausalLM", vocabularySize: 256, hiddenSize: 32, intermediateSize: 64,
  layers: 1, heads: 2, keyValueHeads: 2, headDim: 16, normEpsilon: 1e-5, ropeTheta: 10000, contextLength: 32,
  activation: "relu2", tiedHead: true, attentionBias: false, mlpBias: false, quantized: true, bosToken: null, eosTokens: [],
});
export default defineTraining({
  model, text: ["text.txt"], steps: ${steps}, batch: 2, sequence: 16, evaluateEvery: 1, learningRate: constantRate(0.01),
  decayShare: twoStageDecay(),
  quantization: { lambda: lambdaWarmup({ steps: 40 }) },
});
`;

const run = (file: string, out: string, ...more: string[]) =>
  installed.run(["train", join(folder, file), "--out", join(folder, out), "--threads", "1", ...more]);

it("a run that Ctrl-C ends goes on with --resume to the same weights", async () => {
  const child = installed.start(["train", join(folder, "training.ts"), "--out", join(folder, "parts")]);
  const ended = finished(child);
  await once(child.stderr!, "data");
  while (!(await readFile(join(folder, "parts", "checkpoint.safetensors")).catch(() => undefined))) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ status: 130, stdout: "" });
  expect(await run("training.ts", "parts")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("--resume"),
  });
  // What takes less room changes no bit.
  const resumed = await run("training.ts", "parts", "--resume", "--recompute");
  expect(resumed.stderr).toContain("computing activations again");
  expect(resumed).toMatchObject({ status: 0, stdout: expect.stringMatching(/steps +60\n/) });
  expect(resumed.stderr).toMatch(/step 60: held-out perplexity \d/);
  const whole = await run("training.ts", "whole");
  expect(whole.status).toBe(0);
  expect(whole.stderr).toMatch(/step 0: held-out perplexity \d/);
  expect(whole.stderr).toMatch(/step 21 of 60 .* lambda 0\.50/);
  expect(whole.stderr).not.toMatch(/step 41 of 60 .* lambda/);
  const weights = (out: string) => readFile(join(folder, out, "model", "model.safetensors"));
  expect(await weights("parts")).toEqual(await weights("whole"));
}, 60_000);

it.each([
  ["an option out of range", "wrong.ts", "INVALID_OPTION"],
  ["no such file", "nothing.ts", "MISSING_FILE"],
  ["a file without a training", "text.txt", "INVALID_MODEL"],
])("is refused with a coded error: %s", async (_, file, code) => {
  const { status, stderr } = await run(file, "refused");
  expect(status).toBe(1);
  expect(stderr).toContain(`[${code}]`);
});

it("is built to be trained elsewhere, with no options of models", async () => {
  const build = (...more: string[]) =>
    installed.run(["build", join(folder, "training.ts"), "--out", join(folder, "built"), ...more]);
  const refused = await build("--head", "int8");
  expect(refused).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("takes no --head [INVALID_OPTION]"),
  });
  expect(await build()).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/parameters to train +[\d,]+\n/),
  });
  const { steps } = JSON.parse(await readFile(join(folder, "built", "training.json"), "utf8"));
  expect(steps).toBe(60);
});
