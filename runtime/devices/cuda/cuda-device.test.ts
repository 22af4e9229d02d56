import { readFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type FakeDriver,
  type FakeSettings,
  fakeDriver,
  missingTools,
} from "../../../test/support/cuda/fake-driver.ts";
import { fakeCubin, fakeCudaKernels } from "../../../test/support/cuda/fake-target.ts";
import { buildHostLibrary } from "../../../test/support/cuda/host-library.ts";
import { rejectionOf } from "../../../test/support/errors.ts";
import {
  type FakeArtifact,
  type FakeArtifactOptions,
  fakeArtifact,
  memorySource,
  seal,
} from "../../../test/support/fake-artifact.ts";
import { type LanguageModel, type LoadOptions, load, type Model } from "../../index.ts";
import { cudaFeatures } from "./index.ts";

/** CUresults. */
const OUT_OF_MEMORY = 2;
const LAUNCH_FAILED = 719;
const NO_DEVICE = 100;
const INVALID_IMAGE = 200;

describe.skipIf(missingTools !== undefined)(`CUDA (${missingTools ?? "over a fake driver"})`, () => {
  let driver: FakeDriver;
  let cubin: Uint8Array<ArrayBuffer>;
  let artifact: FakeArtifact;
  const loaded: Model[] = [];

  beforeAll(async () => {
    driver = await fakeDriver();
    cubin = new Uint8Array(readFileSync(await buildHostLibrary(fakeCudaKernels)));
    artifact = await build({ languageModel: true, weightsBytes: 5000, cubin });
  }, 120_000);
  beforeEach(() => machine());
  afterEach(async () => {
    for (const model of loaded.splice(0)) await model.dispose();
    vi.unstubAllEnvs();
    expect(driver.state()).toMatchObject({ handles: 0, allocatedBytes: 0 });
  });

  /** What the runtime finds, from here on. */
  const machine = (settings: FakeSettings = {}, environment: Readonly<Record<string, string>> = {}) => {
    driver.configure(settings);
    for (const [name, value] of Object.entries({ ...driver.environment, ...environment })) {
      vi.stubEnv(name, value);
    }
  };
  const build = (options: FakeArtifactOptions = {}) =>
    fakeArtifact({ targets: ["wasm", "cuda"], ...options });
  const open = async (options: LoadOptions = {}, files = artifact.files): Promise<Model> => {
    const model = await load(memorySource(files), { device: "cuda", threads: 1, ...options });
    loaded.push(model);
    return model;
  };
  const failure = (options: LoadOptions = {}, files = artifact.files) => rejectionOf(open(options, files));
  const x = Float32Array.of(1, 2, 3, 4);

  describe("a model", () => {
    it("runs an artifact's entries", async () => {
      const model = await open();
      expect(model.device).toMatchObject({
        name: "cuda",
        description:
          "CUDA, Fake GPU (compute capability 9.0), driver for CUDA 13.0, machine code of the build",
      });
      for (const batch of [2, 1, 3, 3, 3, 1]) {
        const x = Float32Array.from({ length: 4 * batch }, (_, i) => i - 1.5);
        const { y, checksum } = await model.run({ x });
        expect(y).toEqual({ data: x.map((value) => 2 * value), dims: [batch, 4] });
        expect(checksum!.data[0]).toBe(artifact.checksum);
      }
    });

    it("keeps state between calls, which is zero at first", async () => {
      const model = (await open()) as LanguageModel;
      expect(await model.prefill([3, 1, 4, 1, 5, 9, 2])).toEqual(artifact.logits([3, 1, 4, 1, 5, 9, 2]));
      expect(await model.decode(6)).toEqual(artifact.logits([3, 1, 4, 1, 5, 9, 2, 6]));
      const wasm = (await open({ device: "wasm" })) as LanguageModel;
      const generate = (of: LanguageModel) => of.generate([1, 2], { maxTokens: 10 }).finish();
      expect((await generate(model)).tokens).toEqual((await generate(wasm)).tokens);
    });

    it("copies a state out and in", async () => {
      const model = (await open()) as LanguageModel;
      await model.prefill([3, 1, 4]);
      const seen = await model.readState("seen");
      const { data } = seen;
      await model.prefill([2, 7, 1]);
      await model.writeState("seen", seen);
      expect(await model.readState("seen")).toEqual({ data, dims: [24] });
      expect(data.some((value) => value !== 0)).toBe(true);
    });

    it.each([0, 4, 1000, 4096])("has %i bytes of weights in their place", async (weightsBytes) => {
      const some = await build({ weightsBytes, cubin });
      const model = await open({}, some.files);
      expect((await model.run({ x })).checksum!.data[0]).toBe(some.checksum);
    });

    it("replays a graph for every token from the second on", async () => {
      const model = (await open()) as LanguageModel;
      await model.prefill([1, 2]);
      await model.decode(3);
      const before = { ...model.device.counters! };
      driver.configure({});
      for (const token of [4, 5, 6, 7]) await model.decode(token);
      expect(driver.state()).toMatchObject({ launches: 4, graphLaunches: 4, synchronizations: 4 });
      const { dispatches, bytesWritten, bytesRead, buffersCreated } = model.device.counters!;
      expect(dispatches - before.dispatches).toBe(4);
      expect(bytesWritten - before.bytesWritten).toBe(4 * 12);
      expect(bytesRead - before.bytesRead).toBe(4 * 4 * model.info.vocabularySize);
      expect(buffersCreated).toBe(4);
    });

    it("keeps graphs for the shapes used last, and lets go of older ones", async () => {
      const { files, logits } = await build({ languageModel: true, chunkLength: 20, cubin });
      const model = (await open({}, files)) as LanguageModel;
      const tokens = Array.from({ length: 20 }, (_, index) => index);
      const before = driver.state().handles;
      for (let length = 1; length <= tokens.length; length++) {
        // The second call of a shape makes its graph.
        for (let call = 0; call < 2; call++) {
          model.reset();
          const prompt = tokens.slice(0, length);
          expect(await model.prefill(prompt)).toEqual(logits(prompt));
        }
        expect(driver.state().handles - before).toBe(Math.min(length, 16));
      }
    });

    it("lets JavaScript go on while it runs", async () => {
      const model = await open();
      let ticks = 0;
      const timer = setInterval(() => ticks++, 0);
      for (let call = 0; call < 5; call++) {
        await model.run({ x });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      clearInterval(timer);
      expect(ticks).toBeGreaterThan(0);
    });
  });

  it("tells what the machine has", async () => {
    machine({ version: 12040, devices: 2, computeCapability: 86 });
    expect(await cudaFeatures()).toEqual({
      driver: "12.4",
      cards: Array.from({ length: 2 }, () => ({
        name: "Fake GPU",
        computeCapability: 86,
        multiprocessors: 132,
        totalBytes: 2 ** 30,
      })),
      freeBytes: 2 ** 30,
      compiler: { version: "12.4", library: driver.environment.BITLOOM_LIBNVRTC },
    });
  });

  describe("auto", () => {
    it("takes the card", async () => {
      const model = await open({ device: "auto" });
      expect(model.device.name).toBe("cuda");
      expect(model.warnings).toEqual([]);
    });

    it("goes on to WebGPU and WebAssembly, and says why for each", async () => {
      vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => null } });
      machine({ devices: 0 });
      const onWarning = vi.fn();
      const { files, checksum } = await fakeArtifact({ targets: ["wasm", "webgpu", "cuda"] });
      const model = await open({ device: "auto", onWarning }, files);
      vi.unstubAllGlobals();
      expect(model.device.name).toBe("wasm");
      expect(onWarning.mock.calls.map(([warning]) => warning)).toEqual([
        { code: "NO_CUDA", message: expect.stringMatching(/^Running on WebAssembly: .*finds no card/) },
        { code: "NO_WEBGPU", message: expect.stringMatching(/^Running on WebAssembly: .*no GPU/) },
      ]);
      expect((await model.run({ x })).checksum!.data[0]).toBe(checksum);
    });

    it("does not look for a card where the artifact has nothing for it", async () => {
      const { files } = await fakeArtifact();
      const model = await open({ device: "auto" }, files);
      expect(model.device.name).toBe("wasm");
      expect(model.warnings).toEqual([]);
    });

    it("does not hide a fault of the artifact", async () => {
      const files = new Map(artifact.files).set("weights.safetensors", new Uint8Array(3));
      expect((await failure({ device: "auto" }, files)).code).toBe("CORRUPT_FILE");
    });
  });

  describe("kernels come", () => {
    it("from NVRTC where no image suits the card", async () => {
      machine({ compiled: cubin, computeCapability: 86 });
      const model = await open();
      expect(model.device.description).toMatch(/compiled by NVRTC 13\.0$/);
      expect((await model.run({ x })).y!.data).toEqual(Float32Array.of(2, 4, 6, 8));
      const { compiledSource, compilerOptions } = driver.state();
      expect(compilerOptions).toMatch(/^--gpu-architecture=sm_86 /);
      for (const { text } of fakeCudaKernels) expect(compiledSource).toContain(text);
    });

    it("from NVRTC as PTX for the newest card it knows where this one is newer", async () => {
      machine({ compiled: cubin, computeCapability: 120 });
      const { files } = await build();
      expect((await open({}, files)).device.description).toMatch(/compiled by NVRTC 13\.0$/);
      expect(driver.state().compilerOptions).toMatch(/^--gpu-architecture=compute_100 /);
    });

    it("from NVRTC where the driver refuses the image", async () => {
      machine({ compiled: cubin });
      const copy = await build({ cubin: new TextEncoder().encode("made by a compiler from the future") });
      const model = await open({}, copy.files);
      expect(model.device.description).toMatch(/compiled by NVRTC/);
    });

    it("not at all where there is neither, and both are named", async () => {
      machine(
        { failingFunction: "cuModuleLoadDataEx", failure: INVALID_IMAGE },
        { BITLOOM_LIBNVRTC: "/none.so" },
      );
      const error = await failure();
      expect(error.code).toBe("NO_DEVICE");
      expect(error.expected).toBe("an image for sm_90, or NVRTC");
      expect(error.received).toMatch(/kernels\.sm_90\.cubin: .*CUDA_ERROR_INVALID_IMAGE.*; \/none\.so/);
      expect(error.hint).toMatch(/nvcc.*--arch sm_90.*NVRTC/);
    });

    it("not from sources that NVRTC refuses, whose log is shown", async () => {
      machine({ compilerLog: "kernels.cu(3): error: expected a ;" });
      const { files } = await build();
      expect(await failure({}, files)).toMatchObject({
        code: "ASSEMBLE_FAILED",
        received: expect.stringMatching(/expected a ;$/),
      });
    });

    it("not from an image that lacks one", async () => {
      const some = new Uint8Array(readFileSync(await buildHostLibrary(fakeCudaKernels.slice(0, 2))));
      const { files } = await build({ cubin: some });
      expect(await failure({}, files)).toMatchObject({ code: "CORRUPT_FILE", expected: "predict" });
    });
  });

  describe("what goes wrong has a code:", () => {
    it("an artifact without CUDA", async () => {
      const error = await failure({}, (await fakeArtifact()).files);
      expect(error).toMatchObject({ code: "NO_DEVICE", message: expect.stringMatching(/--target/) });
    });

    it.each<[string, FakeSettings, Readonly<Record<string, string>>, RegExp]>([
      [
        "no addon",
        {},
        { BITLOOM_CUDA_ADDON: "/none.node" },
        /no CUDA addon for .*\/none\.node.*--build-addon/s,
      ],
      ["no addon that loads", {}, { BITLOOM_CUDA_ADDON: "/etc/hostname" }, /does not load/],
      ["no driver", {}, { BITLOOM_LIBCUDA: "/none.so" }, /no NVIDIA driver.*\/none\.so.*Install/s],
      [
        "a driver that is too old",
        {},
        { BITLOOM_LIBCUDA: "libm.so.6" },
        /too old.*11\.4.*cuDriverGetVersion/s,
      ],
      ["no card", { devices: 0 }, {}, /finds no card.*counts none/s],
      [
        "no card to begin with",
        { failingFunction: "cuInit", failure: NO_DEVICE },
        {},
        /finds no card.*CUDA_ERROR_NO_DEVICE/s,
      ],
      ["a card that is too old", { computeCapability: 61 }, {}, /too old.*7\.5.*6\.1, of Fake GPU/s],
      [
        "a card that does not open",
        { failingFunction: "cuCtxCreate_v2", failure: OUT_OF_MEMORY },
        {},
        /cannot be opened/,
      ],
    ])("%s", async (_, settings, environment, says) => {
      machine(settings, environment);
      const error = await failure();
      expect(error).toMatchObject({ code: "NO_DEVICE", message: expect.stringMatching(says) });
    });

    it("too little memory, with what was asked for and what is free", async () => {
      machine({ memoryBytes: 5500 });
      const { regions, weights } = artifact.manifest;
      expect(await failure()).toMatchObject({
        code: "OUT_OF_MEMORY",
        expected: `${regions.io + regions.state + weights.bytes} bytes`,
        received: "5500 of 5500 bytes are free on Fake GPU",
      });
    });

    it("a card that fails while memory is allocated, which is no lack of memory", async () => {
      machine({ failingFunction: "cuMemAlloc_v2", failure: LAUNCH_FAILED });
      expect(await failure()).toMatchObject({
        code: "DEVICE_FAILED",
        received: expect.stringMatching(/CUDA_ERROR_LAUNCH_FAILED/),
      });
    });

    it("a kernel that faults, now and ever after, but not in the contexts of others", async () => {
      const model = await open();
      const other = await open();
      machine({ faultyKernel: "twice" });
      const error = await rejectionOf(model.run({ x }));
      expect(error).toMatchObject({
        code: "DEVICE_FAILED",
        received: expect.stringMatching(/CUDA_ERROR_LAUNCH_FAILED/),
      });
      machine();
      expect(await rejectionOf(model.run({ x }))).toBe(error);
      expect((await other.run({ x })).y!.data).toEqual(Float32Array.of(2, 4, 6, 8));
    });

    it.each(["cuGraphInstantiateWithFlags", "cuStreamEndCapture", "cuGraphLaunch", "cuMemcpyHtoDAsync_v2"])(
      "a driver that fails in %s",
      async (failingFunction) => {
        const model = await open();
        await model.run({ x });
        machine({ failingFunction, failure: OUT_OF_MEMORY });
        expect((await rejectionOf(model.run({ x }))).code).toBe("DEVICE_FAILED");
      },
    );

    it("a model disposed of in the middle of a call", async () => {
      const model = await open();
      const running = rejectionOf(model.run({ x }));
      await model.dispose();
      expect((await running).code).toBe("DISPOSED");
    });

    it("a generation that is aborted, after which the model goes on", async () => {
      const model = (await open()) as LanguageModel;
      const controller = new AbortController();
      const seen: number[] = [];
      const generation = (async () => {
        for await (const { token } of model.generate([1, 2], { maxTokens: 20, signal: controller.signal })) {
          seen.push(token);
          if (seen.length === 3) controller.abort();
        }
      })();
      expect((await rejectionOf(generation)).code).toBe("ABORTED");
      expect(seen).toHaveLength(3);
      model.reset();
      expect(await model.prefill([7])).toEqual(artifact.logits([7]));
    });

    it("loading that is aborted, at any time", async () => {
      for (let stage = 0; ; stage++) {
        const controller = new AbortController();
        let passed = 0;
        const pass = () => {
          if (passed++ === stage) controller.abort();
        };
        const [outcome] = await Promise.allSettled([open({ signal: controller.signal, onProgress: pass })]);
        if (passed <= stage) break;
        expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ABORTED" } });
        expect(driver.state().handles).toBe(0);
      }
    });
  });

  it("gives everything back, load after load", async () => {
    for (let time = 0; time < 50; time++) {
      const model = await open();
      await model.run({ x });
      await model.run({ x });
      await model.dispose();
      expect(driver.state()).toMatchObject({ handles: 0, allocatedBytes: 0 });
    }
  });

  it("an image's file is checked against its hash", async () => {
    const copy = await build({ cubin });
    copy.files.set(
      fakeCubin,
      cubin.map((byte) => byte ^ 1),
    );
    seal(copy);
    expect((await failure({}, copy.files)).code).toBe("CORRUPT_FILE");
  });
});
