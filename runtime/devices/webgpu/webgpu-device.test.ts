import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { changedGpu, type GpuChange, real } from "../../../test/support/changed-gpu.ts";
import { openGpu } from "../../../test/support/dawn.ts";
import { rejectionOf } from "../../../test/support/errors.ts";
import {
  type FakeArtifact,
  type FakeArtifactOptions,
  fakeArtifact,
  memorySource,
  seal,
  sha256Chunks,
} from "../../../test/support/fake-artifact.ts";
import {
  type BitloomError,
  type LanguageModel,
  type LoadOptions,
  load,
  type Model,
  webgpuFeatures,
} from "../../index.ts";
import { createWebgpuDevice } from "./webgpu-device.ts";

const both = ["wasm", "webgpu"] as const;
let artifact: FakeArtifact;
let gpu: GPU;
beforeAll(async () => {
  artifact = await fakeArtifact({ languageModel: true, weightsBytes: 5000, targets: both });
  gpu = await openGpu();
});

/** Makes `value` what the runtime finds as `navigator.gpu`. */
const offer = (value: unknown) => vi.stubGlobal("navigator", { gpu: value });
beforeEach(() => offer(gpu));

/** The machine's GPU, changed. */
const changed = (change: GpuChange): GPU => changedGpu(gpu, change);

const loaded: Model[] = [];
afterEach(async () => {
  vi.unstubAllGlobals();
  for (const model of loaded.splice(0)) await model.dispose();
});

const open = async (options: LoadOptions = {}, files = artifact.files): Promise<Model> => {
  const model = await load(memorySource(files), { device: "webgpu", threads: 1, ...options });
  loaded.push(model);
  return model;
};
const spoilt = async (change: (artifact: FakeArtifact) => void, options: FakeArtifactOptions = {}) => {
  const copy = await fakeArtifact({ targets: both, ...options });
  change(copy);
  seal(copy);
  return copy.files;
};
const withFile = (path: string, text: string) => (copy: FakeArtifact) => {
  const bytes = new TextEncoder().encode(text);
  copy.files.set(path, bytes);
  const file = copy.manifest.files.find((candidate) => candidate.path === path)!;
  Object.assign(file, { bytes: bytes.length, sha256: sha256Chunks(bytes) });
};
/** Has a device round the products of the probe away from what they are. */
const roundingOtherwise = (device: GPUDevice): void => {
  const create = device.createShaderModule.bind(device);
  device.createShaderModule = ({ code }) =>
    create({ code: code.replace("let product = ", "let product = (1 + 0x1p-23) * ") });
};
const failure = (promise: Promise<unknown>): Promise<BitloomError> => rejectionOf(promise);

describe("WebGPU", () => {
  it("runs an artifact's entries", async () => {
    const model = await open();
    expect(model.device).toMatchObject({
      name: "webgpu",
      description: expect.stringMatching(/^WebGPU, .*SwiftShader/),
    });
    for (const batch of [2, 1, 3]) {
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

  it("takes the variants that the device meets", async () => {
    const broken = await spoilt(withFile("kernels/double.subgroups.wgsl", "not WGSL"));
    offer(changed({ features: [] }));
    const model = await open({}, broken);
    expect((await model.run({ x: Float32Array.of(1, 2, 3, 4) })).y!.data).toEqual(
      Float32Array.of(2, 4, 6, 8),
    );
    expect(model.device.description).not.toContain("subgroups");
  });

  it.each([0, 4, 1000, 4096])(
    "puts %i bytes of weights in their place, from any pieces",
    async (weightsBytes) => {
      const some = await fakeArtifact({ weightsBytes, targets: ["webgpu"] });
      for (const verify of [true, false]) {
        const model = await open({ verify }, some.files);
        expect((await model.run({ x: new Float32Array(4) })).checksum!.data[0]).toBe(some.checksum);
      }
    },
  );

  it("lets a writer wait for what is on its way, and end where the device is lost", async () => {
    const devices: GPUDevice[] = [];
    offer(changed({ device: (made) => void devices.push(made) }));
    const { manifest, files } = artifact;
    const readFile = async (path: string) => files.get(path)!;
    const device = await createWebgpuDevice(manifest, { allowSoftware: true, readFile });
    const piece = new Uint8Array(4096);
    const write = (): Promise<void> => {
      for (;;) {
        const waiting = device.write("weights", 0, piece);
        if (waiting !== undefined) return waiting;
      }
    };
    await write();
    expect(device.counters!.bytesWritten).toBe(32 * 1024 * 1024);
    // What is on its way may arrive before.
    const waiting = write().catch((error: BitloomError) => expect(error.code).toBe("DEVICE_FAILED"));
    devices[0]!.destroy();
    await waiting;
    const running = device.run("run", new Map([["batch", 1]]), [], []);
    expect((await failure(running)).code).toBe("DEVICE_FAILED");
    await device.dispose();
    await device.dispose();
  });

  it("creates no buffers and writes no more than inputs once it runs", async () => {
    const model = (await open()) as LanguageModel;
    await model.prefill([1, 2]);
    await model.decode(3);
    const before = { ...model.device.counters! };
    await model.decode(4);
    const { dispatches, bytesWritten, bytesRead, buffersCreated } = model.device.counters!;
    expect(buffersCreated).toBe(before.buffersCreated);
    expect(dispatches - before.dispatches).toBe(1);
    expect(bytesWritten - before.bytesWritten).toBe(12);
    expect(bytesRead - before.bytesRead).toBe(4 * model.info.vocabularySize);
  });

  it("tells what the machine has", async () => {
    const features = await webgpuFeatures();
    expect(features).toMatchObject({ adapter: expect.stringMatching(/SwiftShader/), isSoftware: true });
    expect(features.limits.maxBufferSize).toBeGreaterThanOrEqual(2 ** 28);
    offer(changed(real));
    expect(await webgpuFeatures()).toMatchObject({ adapter: "Real", isSoftware: false });
    const { device } = await open();
    expect(device.numerics).toMatchObject({ roundsToNearest: true });
    expect((await open({ device: "wasm" })).device.numerics).toBeUndefined();
  });
});

describe("auto", () => {
  const auto = (options: LoadOptions = {}, files = artifact.files) => {
    const onWarning = vi.fn();
    return open({ device: "auto", onWarning, ...options }, files).then((model) => ({ model, onWarning }));
  };

  it("takes a real GPU", async () => {
    offer(changed(real));
    const { model, onWarning } = await auto();
    expect(model.device.name).toBe("webgpu");
    expect(onWarning).not.toHaveBeenCalled();
  });

  it("takes WebAssembly rather than a software GPU, and says so", async () => {
    const { model, onWarning } = await auto();
    expect(model.device.name).toBe("wasm");
    expect(onWarning).toHaveBeenCalledWith({
      code: "NO_WEBGPU",
      message: expect.stringMatching(/played by the processor.*SwiftShader/),
    });
    expect(model.warnings).toHaveLength(1);
  });

  it("warns of a GPU that does not round to the nearest float", async () => {
    offer(changed({ ...real, device: roundingOtherwise }));
    const { model, onWarning } = await auto();
    expect(model.device).toMatchObject({ name: "webgpu", numerics: { roundsToNearest: false } });
    expect(onWarning).toHaveBeenCalledExactlyOnceWith({
      code: "OTHER_ROUNDING",
      message: expect.stringMatching(/^WebGPU, Real.* does not round to the nearest float/),
    });
  });

  it("asks no GPU where the artifact has nothing for it", async () => {
    const requestAdapter = vi.fn();
    offer({ requestAdapter });
    const { model, onWarning } = await auto({}, (await fakeArtifact()).files);
    expect(model.device.name).toBe("wasm");
    expect(requestAdapter).not.toHaveBeenCalled();
    expect(onWarning).not.toHaveBeenCalled();
  });

  it("takes any GPU where the artifact has nothing else", async () => {
    const { model } = await auto({}, (await fakeArtifact({ targets: ["webgpu"] })).files);
    expect(model.device.name).toBe("webgpu");
  });

  it.each<[string, () => unknown, RegExp]>([
    ["there is no adapter", () => ({ requestAdapter: async () => null }), /offers no GPU/],
    ["a limit is too small", () => changed({ ...real, limits: { maxBufferSize: 512 } }), /maxBufferSize/],
    [
      "a first run fails",
      () => changed({ ...real, device: (device) => void setTimeout(() => device.destroy(), 0) }),
      /lost|NO_DEVICE|DEVICE_FAILED|ASSEMBLE_FAILED|OUT_OF_MEMORY/,
    ],
  ])("falls back to WebAssembly where %s", async (_, machine, says) => {
    offer(machine());
    const { model, onWarning } = await auto();
    expect(model.device.name).toBe("wasm");
    expect(onWarning).toHaveBeenCalledWith({ code: "NO_WEBGPU", message: expect.stringMatching(says) });
    expect((await model.run({ x: new Float32Array(4) })).checksum!.data[0]).toBe(artifact.checksum);
  });

  it("does not hide a fault of the artifact", async () => {
    offer(changed(real));
    const files = new Map(artifact.files).set("weights.safetensors", new Uint8Array(3));
    expect((await failure(auto({}, files))).code).toBe("CORRUPT_FILE");
  });
});

describe("what goes wrong has a code:", () => {
  it("an artifact without WebGPU", async () => {
    const error = await failure(open({}, (await fakeArtifact()).files));
    expect(error).toMatchObject({ code: "NO_DEVICE", message: expect.stringMatching(/--target/) });
  });

  it("no adapter", async () => {
    offer({ requestAdapter: async () => null });
    expect((await failure(open())).code).toBe("NO_DEVICE");
  });

  it.each<[keyof GPUSupportedLimits, number, RegExp]>([
    ["maxBufferSize", 512, /expected: 1024 for the region weights\n {2}received: 512/],
    ["maxStorageBufferBindingSize", 256, /expected: 5\d\d for the step "checksum \d"\n {2}received: 256/],
    ["maxStorageBuffersPerShaderStage", 3, /expected: 4 for the kernel "predict"\n {2}received: 3/],
    ["maxComputeInvocationsPerWorkgroup", 32, /expected: 64 for the kernel "double"\n {2}received: 32/],
  ])("too little %s", async (limit, offered, says) => {
    offer(changed({ limits: { [limit]: offered } }));
    const error = await failure(open());
    expect(error).toMatchObject({ code: "LIMIT_EXCEEDED", message: expect.stringMatching(says) });
    expect(error.message).toContain(limit);
  });

  it("a kernel that does not compile", async () => {
    offer(changed({ features: [] }));
    const files = await spoilt(
      withFile("kernels/double.wgsl", "@compute @workgroup_size(4) fn double() { let a: i32 = 1.5; }"),
    );
    const error = await failure(open({}, files));
    expect(error).toMatchObject({ code: "ASSEMBLE_FAILED", location: "kernels/double.wgsl" });
    expect(error.message).toMatch(/the kernel "double"/);
    expect(error.received).toMatch(/i32|abstract-float/);
  });

  it("a kernel that does not fit its bindings", async () => {
    offer(changed({ features: [] }));
    const files = await spoilt((copy) => {
      copy.manifest.targets.webgpu!.kernels[0]!.variants[1]!.bindings.pop();
    });
    expect((await failure(open({}, files))).code).toBe("ASSEMBLE_FAILED");
  });

  it("too little memory", async () => {
    offer(
      changed({
        device: (device) => {
          const create = device.createBuffer.bind(device);
          device.createBuffer = ({ label, size, usage }) => {
            if (label === "state") throw new RangeError("out of memory");
            return create({ ...(label !== undefined && { label }), size, usage });
          };
        },
      }),
    );
    expect(await failure(open())).toMatchObject({
      code: "OUT_OF_MEMORY",
      expected: expect.stringMatching(/^\d+ bytes$/),
      received: "out of memory",
    });
  });

  it("a GPU that does not compute the probe of its numerics", async () => {
    const device = (opened: GPUDevice) => {
      const create = opened.createComputePipelineAsync.bind(opened);
      opened.createComputePipelineAsync = async (descriptor) => {
        if (descriptor.label === "numerics") throw new Error("not this one");
        return create(descriptor);
      };
    };
    offer(changed({ device }));
    expect(await failure(open())).toMatchObject({ code: "DEVICE_FAILED", received: "not this one" });
  });

  it("a device lost in the middle of a call, now and ever after", async () => {
    const devices: GPUDevice[] = [];
    offer(changed({ device: (made) => void devices.push(made) }));
    const model = await open();
    const x = new Float32Array(4);
    const running = failure(model.run({ x }));
    await Promise.resolve();
    devices[0]!.destroy();
    expect(await running).toMatchObject({ code: "DEVICE_FAILED", message: expect.stringMatching(/lost/) });
    expect((await failure(model.run({ x }))).code).toBe("DEVICE_FAILED");
    await model.dispose();
  });

  it("a model disposed of in the middle of a call", async () => {
    const model = await open();
    const running = failure(model.run({ x: new Float32Array(4) }));
    await model.dispose();
    expect((await running).code).toBe("DISPOSED");
  });

  it("loading that is aborted, at any time", async () => {
    const devices: GPUDevice[] = [];
    for (let stage = 0; ; stage++) {
      const controller = new AbortController();
      let passed = 0;
      const pass = () => {
        if (passed++ === stage) controller.abort();
      };
      const device = (made: GPUDevice) => {
        devices.push(made);
        pass();
      };
      offer(changed({ device }));
      const [outcome] = await Promise.allSettled([open({ signal: controller.signal, onProgress: pass })]);
      if (passed <= stage) break;
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ABORTED" } });
    }
    expect(devices.length).toBeGreaterThan(3);
    for (const model of loaded.splice(0)) await model.dispose();
    // Every device that was opened is gone again.
    const lost = await Promise.all(devices.map((device) => device.lost));
    expect(lost.every(({ reason }) => reason === "destroyed")).toBe(true);
  });
});

it("gives every buffer back, load after load", async () => {
  let created = 0;
  let destroyed = 0;
  const devices: GPUDevice[] = [];
  offer(
    changed({
      device: (device) => {
        devices.push(device);
        const create = device.createBuffer.bind(device);
        device.createBuffer = (descriptor) => {
          created++;
          const buffer = create(descriptor);
          const destroy = buffer.destroy.bind(buffer);
          buffer.destroy = () => {
            destroyed++;
            return destroy();
          };
          return buffer;
        };
      },
    }),
  );
  for (let time = 0; time < 10; time++) {
    const model = await load(memorySource(artifact.files), { device: "webgpu" });
    await model.run({ x: new Float32Array(4) });
    await model.dispose();
  }
  expect(created).toBeGreaterThan(10);
  expect(destroyed).toBe(created);
  await Promise.all(devices.map((device) => device.lost));
});
