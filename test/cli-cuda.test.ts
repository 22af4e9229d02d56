/** The commands on an NVIDIA card: a driver that is none, found as a user's Node would find NVIDIA's. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";
import { type InstalledPackage, installPackage, type ProcessResult } from "./support/cli.ts";
import { addFakeImage, fakeDriver, missingTools } from "./support/cuda/fake-driver.ts";

describe.skipIf(missingTools !== undefined)(`with a card (${missingTools ?? "over a fake driver"})`, () => {
  let bitloom: InstalledPackage;
  let folder: string;
  let artifact: string;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    bitloom = await installPackage();
    folder = await mkdtemp(join(tmpdir(), "bitloom-cli-cuda-"));
    artifact = join(folder, "artifact");
    env = { ...process.env, ...(await fakeDriver()).environment };
    const { folder: checkpoint } = checkpoints["bitnet-tiny-packed"];
    // Without nvcc, which takes half a minute.
    const built = await bitloom.run(["build", checkpoint, "--out", artifact, "--target", "wasm,cuda"], {
      env: { ...env, PATH: "" },
    });
    expect(built.stderr + built.status).toMatch(/0$/);
    await addFakeImage(artifact);
  }, 120_000);
  afterAll(async () => {
    await bitloom?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (...args: string[]): Promise<ProcessResult> => bitloom.run(args, { env });
  const json = async (...args: string[]) => {
    const { stdout, stderr, status } = await run(...args, "--json");
    expect(`${stderr}${status}`).toMatch(/^(?:loading\n)?0$/);
    return JSON.parse(stdout);
  };

  it("run --device cuda continues as PyTorch does", async () => {
    const [{ input_ids, greedy_ids }] = (await readGolden("bitnet-tiny-packed")) as [GoldenPrompt];
    const [length, count] = [input_ids.length, 4];
    const prompt = ["--tokens", input_ids.join(), "--max-tokens", String(count)];
    const { tokens } = await json("run", artifact, "--device", "cuda", ...prompt);
    expect(tokens).toEqual(greedy_ids.slice(length, length + count));
  });

  it("bench measures the card that auto takes, and counts what a token takes", async () => {
    const report = await json("bench", artifact, "--prefill", "2", "--decode", "2", "--repeat", "1");
    expect(report.device).toMatch(/^CUDA, Fake GPU \(compute capability 9\.0\)/);
    expect(report.dispatchesPerToken).toBeGreaterThan(1);
    expect(report.dispatchesPerToken).toBeLessThanOrEqual(report.stepsPerToken);
    expect(report.buffersCreatedPerToken).toBe(0);
    expect(report.bytesWrittenPerToken).toBe(12);
  });

  it("doctor names the card, its memory, the driver and NVRTC", async () => {
    // Dawn writes to stderr where it finds no Vulkan.
    const { findings } = JSON.parse((await run("doctor", "--json")).stdout);
    const finding = findings.find(({ name }: { name: string }) => name === "CUDA");
    expect(finding).toMatchObject({
      ok: true,
      detail: expect.stringMatching(
        /^Fake GPU \(compute capability 9\.0, 132 multiprocessors, 1\.07 GB\); 1\.07 GB free.*CUDA 13\.0; NVRTC 13\.0/,
      ),
    });
  });
});

describe("without an addon", () => {
  let bitloom: InstalledPackage;
  beforeAll(async () => {
    bitloom = await installPackage();
  });
  afterAll(() => bitloom?.dispose());

  it("doctor says how to get it", async () => {
    const { stdout } = await bitloom.run(["doctor"], {
      env: { ...process.env, BITLOOM_CUDA_ADDON: "/none.node" },
    });
    expect(stdout).toMatch(/no {3}CUDA: bitloom has no CUDA addon for .*\/none\.node\n +Build it with/);
  });

  it("doctor --build-addon says what it takes", async () => {
    const { status, stdout, stderr } = await bitloom.run(["doctor", "--build-addon"], { env: { PATH: "" } });
    expect(stderr).toMatch(/was not built \[NO_DEVICE\]\n.*it takes cmake and a C\+\+ compiler/);
    expect(stdout).toBe("");
    expect(status).toBe(1);
  });
});
