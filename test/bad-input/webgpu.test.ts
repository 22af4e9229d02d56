/** What goes wrong with a real checkpoint on a GPU: Dawn over SwiftShader. */
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type ErrorCode,
  type LanguageModel,
  type LoadOptions,
  loadLanguageModel,
  type Manifest,
  type Warning,
} from "../../runtime/index.ts";
import { compileCheckpoint, openCheckpoint } from "../../src/index.ts";
import { changed, changedGpu, real } from "../support/changed-gpu.ts";
import { checkpoints, type GoldenPrompt, readGolden } from "../support/checkpoints.ts";
import { openGpu } from "../support/dawn.ts";
import { rejectionOf } from "../support/errors.ts";
import { remembered } from "../support/remembered.ts";
import { type Change, flipped, inOrder, replaced, sealed } from "../support/spoil.ts";

// A software GPU compiles each kernel for long.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let folder: string;
let artifact: string;
let manifest: Manifest;
let golden: GoldenPrompt;
let gpu: GPU;
/** A GPU whose devices are one underneath, which compiles each kernel once. */
let shared: GPU;
let adapter: GPUAdapter;
/** Buffers of `shared` that were made and not destroyed, with their bytes. */
const buffers = new Map<GPUBuffer, number>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-bad-gpu-"));
  artifact = join(folder, "artifact");
  const checkpoint = await openCheckpoint(checkpoints["bitnet-tiny-packed"].folder);
  try {
    await compileCheckpoint(checkpoint, { out: artifact, targets: ["wasm", "webgpu"] });
  } finally {
    await checkpoint.source.close();
  }
  manifest = JSON.parse(await readFile(join(artifact, "manifest.json"), "utf8"));
  [golden] = (await readGolden("bitnet-tiny-packed")) as [GoldenPrompt];
  gpu = await openGpu();
  adapter = (await gpu.requestAdapter())!;
  const device = await adapter.requestDevice({
    requiredFeatures: adapter.features.has("subgroups") ? ["subgroups"] : [],
  });
  const kept = changed(device, {
    ...remembered(device),
    createBuffer(descriptor: GPUBufferDescriptor) {
      const buffer = device.createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      buffers.set(buffer, buffer.size);
      buffer.destroy = () => {
        buffers.delete(buffer);
        return destroy();
      };
      return buffer;
    },
  });
  const requestDevice = async () => {
    let lose = (_: { reason: GPUDeviceLostReason; message: string }) => {};
    const lost = new Promise((resolve) => {
      lose = resolve;
    });
    return changed(kept, { lost, destroy: () => lose({ reason: "destroyed", message: "" }) });
  };
  shared = changed(gpu, { requestAdapter: async () => changed(adapter, { requestDevice }) });
});
afterEach(() => {
  expect(buffers.size).toBe(0);
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await rm(folder, { recursive: true, force: true });
});

const offer = (value: unknown) => vi.stubGlobal("navigator", { gpu: value });
const load = (options: LoadOptions = {}, from = artifact) =>
  loadLanguageModel(from, { device: "webgpu", threads: 1, ...options });

async function spoilt(change: Change): Promise<string> {
  const copy = join(await mkdtemp(join(folder, "case-")), "artifact");
  await cp(artifact, copy, { recursive: true });
  await change(copy);
  return copy;
}

async function expectRight(model: LanguageModel, count = 6): Promise<void> {
  const { input_ids, greedy_ids } = golden;
  const { tokens } = await model.generate(input_ids, { maxTokens: count, ignoreStopTokens: true }).finish();
  expect(tokens).toEqual(greedy_ids.slice(input_ids.length, input_ids.length + count));
}

/** Every variant of the first kernel that a decoded token runs. */
const firstShaders = (): readonly string[] => {
  const { kernels, plans } = manifest.targets.webgpu!;
  return kernels.find(({ name }) => name === plans.decode![0]!.kernel)!.variants.map(({ source }) => source);
};

const refuse = async () => {
  throw new Error("the driver is busy");
};
const noChange = inOrder();
const limited = (limit: keyof GPUSupportedLimits, offered: number) => () =>
  changedGpu(shared, { ...real, limits: { [limit]: offered } });

describe.each<[what: string, machine: () => unknown, change: () => Change, code: ErrorCode, says: string]>([
  ["no adapter", () => ({ requestAdapter: async () => null }), () => noChange, "NO_DEVICE", "offers no GPU"],
  [
    "an adapter that gives no device",
    () =>
      changed(shared, { requestAdapter: async () => changed(adapter, { ...real, requestDevice: refuse }) }),
    () => noChange,
    "NO_DEVICE",
    "the driver is busy",
  ],
  ["buffers too small", limited("maxBufferSize", 100_000), () => noChange, "LIMIT_EXCEEDED", "maxBufferSize"],
  [
    "bindings too small",
    limited("maxStorageBufferBindingSize", 100_000),
    () => noChange,
    "LIMIT_EXCEEDED",
    "maxStorageBufferBindingSize",
  ],
  [
    "bindings too few",
    limited("maxStorageBuffersPerShaderStage", 2),
    () => noChange,
    "LIMIT_EXCEEDED",
    "maxStorageBuffersPerShaderStage",
  ],
  [
    "a shader that does not compile",
    () => changedGpu(shared, real),
    () => inOrder(...firstShaders().flatMap((path) => [replaced(path, "fn none( {"), sealed(path)])),
    "ASSEMBLE_FAILED",
    "does not compile the kernel",
  ],
])("%s", (_, machine, change, code, says) => {
  it("is an error where the GPU was asked for, and otherwise a warning", async () => {
    const from = await spoilt(change());
    offer(machine());
    const error = await rejectionOf(load({}, from));
    expect(error.code).toBe(code);
    expect(error.message).toContain(says);

    const warnings: Warning[] = [];
    const model = await load({ device: "auto", onWarning: (warning) => warnings.push(warning) }, from);
    expect(model.device.name).toBe("wasm");
    expect(warnings).toMatchObject([{ code: "NO_WEBGPU", message: expect.stringContaining(says) }]);
    await expectRight(model);
    await model.dispose();
  });
});

it("a shader with an altered byte is corrupt, whatever device would do", async () => {
  const from = await spoilt(inOrder(...firstShaders().map((path) => flipped(path, 40))));
  offer(changedGpu(shared, real));
  for (const device of ["webgpu", "auto"] as const) {
    const error = await rejectionOf(load({ device }, from));
    expect(error).toMatchObject({ code: "CORRUPT_FILE" });
    expect(error.message).toMatch(/kernels\/\w+[.\w]*\.wgsl/);
  }
});

it("a device lost while it generates ends that model, and a model loaded again is right", async () => {
  const devices: GPUDevice[] = [];
  offer(changedGpu(gpu, { device: (device) => devices.push(device) }));
  const model = await load();
  const answer = model.generate(golden.input_ids, { maxTokens: 20, ignoreStopTokens: true });
  const failure = await rejectionOf(
    (async () => {
      for await (const _ of answer) if (answer.result.tokens.length === 3) devices[0]!.destroy();
    })(),
  );
  expect(failure).toMatchObject({
    code: "DEVICE_FAILED",
    hint: expect.stringContaining("load the model again"),
  });
  // What came before is there.
  const { input_ids, greedy_ids } = golden;
  const { tokens } = answer.result;
  expect(tokens.length).toBeGreaterThanOrEqual(3);
  expect(tokens).toEqual(greedy_ids.slice(input_ids.length, input_ids.length + tokens.length));
  expect(await rejectionOf(model.prefill([1]))).toMatchObject({ code: "DEVICE_FAILED" });
  expect(await rejectionOf(model.generate([1]).finish())).toMatchObject({ code: "DEVICE_FAILED" });
  await model.dispose();

  offer(shared);
  const again = await load();
  await expectRight(again);
  await again.dispose();
});

describe("an end that was asked for", () => {
  it("while it loads, at any file, releases everything", async () => {
    offer(shared);
    const { files } = manifest;
    const shaders = files.filter(({ path }) => path.endsWith(".wgsl"));
    for (const path of [shaders[0]!.path, shaders.at(-1)!.path, "weights.safetensors", "tokenizer.json"]) {
      const controller = new AbortController();
      const onProgress = ({ file }: { readonly file: string }) => {
        // Which variant is read depends on the device.
        if (file.split(".")[0] === path.split(".")[0]) controller.abort(path);
      };
      const error = await rejectionOf(load({ signal: controller.signal, onProgress }));
      expect(error).toMatchObject({ code: "ABORTED", cause: path });
      expect(buffers.size).toBe(0);
    }
  });

  it("while it generates leaves the model as good as before", async () => {
    offer(shared);
    const model = await load();
    const controller = new AbortController();
    const answer = model.generate(golden.input_ids, { signal: controller.signal, ignoreStopTokens: true });
    const failure = await rejectionOf(
      (async () => {
        for await (const _ of answer) if (answer.result.tokens.length === 3) controller.abort("enough");
      })(),
    );
    expect(failure).toMatchObject({ code: "ABORTED", cause: "enough" });
    await expectRight(model);
    await model.dispose();
  });
});

/** Of the process, once garbage is collected, whose end Dawn hears of in a later turn. */
async function residentBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  await new Promise((resolve) => setTimeout(resolve, 0));
  return process.memoryUsage().rss;
}

it("gives memory back, load after load", async () => {
  offer(shared);
  const [warmUp, loads] = [5, 20];
  let modelBytes = 0;
  let before = 0;
  let after = 0;
  for (let time = 0; time < loads; time++) {
    const model = await load();
    modelBytes = [...buffers.values()].reduce((sum, size) => sum + size, 0);
    await model.dispose();
    expect(buffers.size).toBe(0);
    after = await residentBytes();
    if (time === warmUp) before = after;
  }
  expect(modelBytes).toBeGreaterThan(manifest.weights.bytes);
  expect(after - before).toBeLessThan(3 * modelBytes);
});
