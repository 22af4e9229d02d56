/** The commands on a GPU: Dawn over SwiftShader, found as a user's Node would find a driver. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";
import { type InstalledPackage, installPackage, type ProcessResult } from "./support/cli.ts";
import { gpuEnvironment } from "./support/dawn.ts";

let bitloom: InstalledPackage;
let folder: string;
let artifact: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  bitloom = await installPackage();
  folder = await mkdtemp(join(tmpdir(), "bitloom-cli-webgpu-"));
  artifact = join(folder, "artifact");
  env = { ...process.env, ...(await gpuEnvironment()) };
  const { folder: checkpoint } = checkpoints["bitnet-tiny-packed"];
  const built = await bitloom.run(["build", checkpoint, "--out", artifact, "--target", "wasm,webgpu"]);
  expect(built.stderr + built.status).toMatch(/0$/);
}, 120_000);
afterAll(async () => {
  await bitloom?.dispose();
  await rm(folder, { recursive: true, force: true });
});

const run = (...args: string[]): Promise<ProcessResult> => bitloom.run(args, { env });
const json = async (...args: string[]) => {
  const { stdout, stderr, status } = await run(...args);
  expect(`${stderr}${status}`).toMatch(/^(?:loading\n)?0$/);
  return JSON.parse(stdout);
};

it("run --device webgpu continues as PyTorch does", async () => {
  const [{ input_ids, greedy_ids }] = (await readGolden("bitnet-tiny-packed")) as [GoldenPrompt];
  const [length, count] = [input_ids.length, 12];
  const prompt = ["--tokens", input_ids.join(), "--max-tokens", String(count), "--json"];
  const { tokens } = await json("run", artifact, "--device", "webgpu", ...prompt);
  expect(tokens).toEqual(greedy_ids.slice(length, length + count));
});

it("run --device auto prefers WebAssembly to a software GPU, and says so", async () => {
  const { stdout, stderr, status } = await run("run", artifact, "--tokens", "1", "--max-tokens", "2");
  expect(stderr).toMatch(/^warning: .* \[NO_WEBGPU\]$/m);
  expect(status).toBe(0);
  expect(stdout).not.toBe("");
  expect(stderr).toMatch(/warning: Running on WebAssembly: .*SwiftShader/);
});

it("bench counts what a token takes", async () => {
  // Few kernels, for a software GPU takes a third of a second to compile one.
  await writeFile(
    join(folder, "bigram.ts"),
    `import { defineLanguageModel, embedding } from "bitloom";
export default defineLanguageModel({
  name: "bigram",
  vocabularySize: 16,
  contextLength: 40,
  layers: { embed: embedding(16, 8) },
  forward: (tokens, { embed }) => embed.head(embed(tokens)),
});`,
  );
  const bigram = join(folder, "bigram");
  const source = join(folder, "bigram.ts");
  const built = await run("build", source, "--random", "--out", bigram, "--target", "webgpu");
  expect(built.status, built.stderr).toBe(0);
  const options = ["--device", "webgpu", "--prefill", "8", "--decode", "3", "--repeat", "1"];
  const report = await json("bench", bigram, ...options, "--json");
  expect(report.device).toMatch(/^WebGPU, .*SwiftShader/);
  expect(report.dispatchesPerToken).toBeGreaterThan(1);
  expect(report.dispatchesPerToken).toBeLessThanOrEqual(report.stepsPerToken);
  expect(report.buffersCreatedPerToken).toBe(0);
  expect(report.bytesWrittenPerToken).toBe(12);
  // The token and its logit.
  expect(report.bytesReadPerToken).toBe(8);
});

it("inspect tells of both targets", async () => {
  const { stdout: summary } = await run("inspect", artifact);
  expect(summary).toMatch(/decode +\d+ steps on wasm, \d+ steps on webgpu/);
  expect(summary).toMatch(/temporaries on webgpu/);
  const { stdout: plan } = await run("inspect", artifact, "--plan", "--entry", "decode");
  expect(plan).toMatch(/^decode on wasm: \d+ steps\n[\s\S]*\ndecode on webgpu: \d+ steps\n/);
  const name = /^ +embedding %\S+ +(\w+)/m.exec(plan.slice(plan.indexOf("on webgpu")))![1]!;
  const { stdout: kernel } = await run("inspect", artifact, "--kernel", name);
  expect(kernel).toMatch(/^kernels\/\w+\.wgsl$[\s\S]*@compute/m);
});

it("doctor names the adapter and what it can do", async () => {
  const { findings } = await json("doctor", "--json");
  const finding = findings.find(({ name }: { name: string }) => name === "WebGPU");
  expect(finding).toMatchObject({
    ok: false,
    detail: expect.stringMatching(
      /SwiftShader.* \(google swiftshader\), played by the processor: subgroups of \d.*buffers of .*bindings of .*workgroups of .*rounds to nearest even: yes, contracts products: (?:yes|no), keeps subnormals: (?:yes|no)$/,
    ),
  });
  expect(finding.advice).toMatch(/driver/);
});
