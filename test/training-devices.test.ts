/**
 * Training on devices other than the processor: SwiftShader plays a GPU, and a driver that is none a card, both by way
 * of the runtime. All kernels are compiled once, for the reference implementation's run and for the trainer.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { load } from "../runtime/index.ts";
import {
  compileTraining,
  constantRate,
  defineTraining,
  type Training,
  type TrainOptions,
  train,
} from "../src/train/index.ts";
import { openStart, stepOf } from "../src/train/start.ts";
import { changed } from "./support/changed-gpu.ts";
import { fakeDriver, fakeImage, missingTools } from "./support/cuda/fake-driver.ts";
import { openGpu } from "./support/dawn.ts";
import { expectNanoTraining, nanoModel, nanoOptimizer } from "./support/nano-train.ts";
import { remembered } from "./support/remembered.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

let folder: string;
let training: Training;
/** The trainer's losses on WebAssembly. */
let losses: readonly number[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-training-devices-"));
  training = defineTraining({
    model: await nanoModel(),
    text: [{ content: "abcdefgh".repeat(60) }],
    ...{ steps: 2, batch: 2, sequence: 12, heldOut: 0.2, evaluateEvery: 2, evaluateSequences: 2 },
    learningRate: constantRate(0.01),
    optimizer: nanoOptimizer,
  });
  ({ losses } = await train(training, { out: join(folder, "wasm"), threads: 1 }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

/** A GPU of one device, which compiles each kernel once, however often it is opened. */
async function gpuOnce(): Promise<() => Promise<void>> {
  const gpu = await openGpu();
  const adapter = (await gpu.requestAdapter())!;
  const device = await adapter.requestDevice();
  const kept = changed(device, { ...remembered(device), destroy: () => undefined });
  const offered = changed(adapter, { features: new Set(), requestDevice: async () => kept });
  const navigator = { gpu: changed(gpu, { requestAdapter: async () => offered }) };
  return async () => {
    vi.stubGlobal("navigator", navigator);
  };
}

/** A card whose compiler knows the kernels of the training. */
async function offerCard(): Promise<void> {
  const driver = await fakeDriver();
  const out = join(folder, "for-the-card");
  const start = await openStart(training, folder);
  await compileTraining(start.model, { ...stepOf(training, start), out, targets: ["cuda"] });
  await start.weights.close();
  driver.configure({ compiled: await fakeImage(out) });
  for (const [name, value] of Object.entries(driver.environment)) vi.stubEnv(name, value);
}

const offerGpu = await gpuOnce();

test("the reference implementation's training run on webgpu", async () => {
  await offerGpu();
  const out = join(folder, "nano");
  const symbols = { batch: { max: 4 }, seq: { max: 32 } };
  await compileTraining(await nanoModel(), { out, optimizer: nanoOptimizer, symbols, targets: ["webgpu"] });
  const model = await load(out, { device: "webgpu", onWarning: () => undefined });
  await expectNanoTraining(20, model);
  await model.dispose();
});

describe.each([
  ["webgpu", /^WebGPU, /, offerGpu],
  ["cuda", /^CUDA, /, offerCard],
] as const)("the trainer on %s", (device, description, offer) => {
  const missing = device === "cuda" ? missingTools : undefined;
  test.skipIf(missing !== undefined)(
    `learns as on WebAssembly, and in parts to the same weights${missing ? ` (${missing})` : ""}`,
    async () => {
      await offer();
      const run = (out: string, more: Partial<TrainOptions> = {}) =>
        train(training, {
          out: join(folder, `${device}-${out}`),
          device,
          onWarning: () => undefined,
          ...more,
        });
      const whole = await run("whole");
      expect(whole.device).toMatch(description);
      whole.losses.forEach((loss, step) => {
        expect(Math.abs(loss / losses[step]! - 1), `step ${step + 1}`).toBeLessThan(1e-3);
      });
      const controller = new AbortController();
      const interrupted = run("parts", { signal: controller.signal, onStep: () => controller.abort() });
      await expect(interrupted).rejects.toMatchObject({ code: "ABORTED" });
      const resumed = await run("parts", { resume: true, device: "auto" });
      expect(resumed).toMatchObject({ device: whole.device, losses: whole.losses });
      const weights = (out: string) =>
        readFile(join(folder, `${device}-${out}`, "model", "model.safetensors"));
      expect(await weights("parts")).toEqual(await weights("whole"));
    },
  );
});

test("auto trains on WebAssembly where the GPU is software, and other devices are refused", async () => {
  await offerGpu();
  const { device } = await train(training, { out: join(folder, "auto"), device: "auto", threads: 1 });
  expect(device).toMatch(/^WebAssembly/);
  const refused = train(training, { out: join(folder, "none"), device: "tpu" as "cuda" });
  await expect(refused).rejects.toMatchObject({ code: "INVALID_OPTION" });
});
