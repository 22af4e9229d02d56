import { afterEach, beforeAll, describe, expect, it, test, vi } from "vitest";
import { type FakeArtifact, fakeArtifact, memorySource, seal } from "../test/support/fake-artifact.ts";
import { createWasmDevice } from "./devices/wasm/wasm-device.ts";
import { type LanguageModel, type LoadOptions, load, type Model } from "./index.ts";

let artifact: FakeArtifact;
beforeAll(async () => {
  artifact = await fakeArtifact({ languageModel: true });
});

const loaded: Model[] = [];
afterEach(async () => {
  for (const model of loaded.splice(0)) await model.dispose();
});
const open = async (options: LoadOptions = { threads: 1 }) => {
  const model = await load(memorySource(artifact.files), options);
  loaded.push(model);
  return model;
};

const plain = async (threads = 1) => {
  const files = await fakeArtifact();
  const model = await load(memorySource(files.files), { threads });
  loaded.push(model);
  return model;
};

describe("states", () => {
  it("are copied out and in, by name", async () => {
    const model = (await open()) as LanguageModel;
    expect(await model.readState("seen")).toEqual({ data: new Int32Array(24), dims: [24] });
    const expected = await model.prefill([3, 1, 4]);
    const seen = await model.readState("seen");
    expect(seen.data).not.toEqual(new Int32Array(24));
    model.reset();
    await model.writeState("seen", new Int32Array(24).fill(9));
    expect((await model.readState("seen")).data).toEqual(new Int32Array(24).fill(9));
    await model.writeState("seen", seen);
    expect((await model.readState("seen")).data).toEqual(seen.data);
    expect(await model.prefill([3, 1, 4])).toEqual(expected);
  });

  it.each([
    ["another name", "saw", new Int32Array(24)],
    ["another length", "seen", new Int32Array(23)],
    ["another dtype", "seen", new Float32Array(24)],
    ["other dims", "seen", { data: new Int32Array(24), dims: [4, 6] }],
  ])("refuse %s, and stay as they were", async (_, name, value) => {
    const model = await open();
    await expect(model.writeState(name, value)).rejects.toMatchObject({ code: "INVALID_INPUT" });
    expect((await model.readState("seen")).data).toEqual(new Int32Array(24));
  });

  it("wait for nobody's call", async () => {
    const model = await plain();
    const running = model.run({ x: new Float32Array(4) });
    await expect(model.readState("seen")).rejects.toMatchObject({ code: "BUSY" });
    await running;
  });
});

test("any entry of the manifest can be called", async () => {
  const model = await plain();
  const x = Float32Array.of(1, 2, 3, 4);
  expect(await model.call("run", { x })).toEqual(await model.run({ x }));
  await expect(model.call("walk", { x })).rejects.toMatchObject({ code: "INVALID_OPTION" });
});

describe("run", () => {
  it("copies inputs in and outputs out, with the shapes the inputs settle", async () => {
    const model = await plain();
    const x = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const first = await model.run({ x });
    expect(first.y).toEqual({ data: x.map((value) => 2 * value), dims: [2, 4] });
    const second = await model.run({ x: { data: Float32Array.of(9, 9, 9, 9), dims: [1, 4] } });
    expect(second.y!.dims).toEqual([1, 4]);
    expect(first.y!.data[0]).toBe(2);
  });

  it("takes views into larger buffers", async () => {
    const model = await plain();
    const x = new Float32Array(16).map((_, index) => index).subarray(8, 12);
    expect((await model.run({ x })).y!.data).toEqual(Float32Array.of(16, 18, 20, 22));
  });

  it("refuses a second call while one runs, and an artifact without the entry", async () => {
    const model = await plain();
    const x = new Float32Array(4);
    const [first, second] = await Promise.allSettled([model.run({ x }), model.run({ x })]);
    expect(first.status).toBe("fulfilled");
    expect((second as PromiseRejectedResult).reason.code).toBe("BUSY");
    // A failed call gives the model back.
    await expect(model.run({})).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await expect(model.run({ x })).resolves.toBeDefined();
  });

  it("is refused after dispose, which may be called twice or left to `using`", async () => {
    const model = await plain(2);
    await model.dispose();
    await model.dispose();
    await expect(model.run({ x: new Float32Array(4) })).rejects.toMatchObject({ code: "DISPOSED" });

    let scoped: Model;
    {
      await using inner = await plain();
      scoped = inner;
      await inner.run({ x: new Float32Array(4) });
    }
    await expect(scoped.run({ x: new Float32Array(4) })).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("ends with DISPOSED where the model is disposed of meanwhile", async () => {
    const model = await plain();
    const running = model.run({ x: new Float32Array(4) });
    const [outcome] = await Promise.allSettled([running, model.dispose()]);
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "DISPOSED" } });
  });

  it("turns a trap into DEVICE_FAILED, now and ever after", async () => {
    const broken = await fakeArtifact();
    // The module knows three entries: the fourth number traps.
    const { entries, targets } = broken.manifest;
    broken.manifest.entries = { ...entries, a: entries.run!, b: entries.run!, c: entries.run! };
    targets.wasm!.plans = { a: [], b: [], c: [], ...targets.wasm!.plans };
    seal(broken);
    const model = await load(memorySource(broken.files), { threads: 1 });
    loaded.push(model);
    const x = new Float32Array(4);
    await expect(model.run({ x })).rejects.toMatchObject({ code: "DEVICE_FAILED" });
    await expect(model.run({ x })).rejects.toMatchObject({ code: "DEVICE_FAILED" });
  });
});

describe("threads", () => {
  it.each([1, 2, 5])("%i of them all take part in every call", async (threads) => {
    const model = await plain(threads);
    expect(model.device.threads).toBe(threads);
    for (let call = 0; call < 20; call++) {
      const { participants } = await model.run({ x: new Float32Array(4) });
      expect(participants!.data[0]).toBe(threads);
    }
  });

  it("are as many as the artifact has room for, with a warning", async () => {
    const onWarning = vi.fn();
    const model = await open({ threads: 50, onWarning });
    expect(model.device.threads).toBe(8);
    expect(onWarning).toHaveBeenCalledWith(expect.objectContaining({ code: "FEWER_THREADS" }));
  });

  const device = (features: { threads: boolean; simd?: boolean }, warn = vi.fn()) =>
    createWasmDevice(artifact.manifest, {
      threads: 4,
      warn,
      features: { simd: true, relaxedSimd: false, ...features },
      readFile: async (path) => artifact.files.get(path)!,
    });

  it("have a module that the artifact may lack", async () => {
    const { manifest, files } = await fakeArtifact();
    const { baselineShared } = manifest.targets.wasm!.modules;
    manifest.targets.wasm!.modules = { baselineShared };
    const readFile = async (path: string) => files.get(path)!;
    const make = (threads: number) =>
      createWasmDevice(manifest, {
        ...{ threads, readFile, warn: vi.fn() },
        features: { simd: true, relaxedSimd: true, threads: true },
      });
    const made = await make(2);
    expect(made.description).toBe("WebAssembly, baseline SIMD, 2 threads");
    await made.dispose();
    await expect(make(1)).rejects.toMatchObject({ code: "NO_DEVICE", received: baselineShared });
  });

  it("are one where memory cannot be shared, with a warning", async () => {
    const warn = vi.fn();
    const single = await device({ threads: false }, warn);
    expect(single.threads).toBe(1);
    expect(warn).toHaveBeenCalledWith(expect.objectContaining({ code: "NO_THREADS" }));
    await single.run("run", new Map([["batch", 1]]), [], []);
    await single.dispose();
  });

  it("are one where workers cannot start, with a warning that says why", async () => {
    const { getBuiltinModule } = process;
    const refuse = vi.spyOn(process, "getBuiltinModule").mockImplementation(((id: string) =>
      id === "node:worker_threads"
        ? {
            Worker: class {
              constructor() {
                throw new Error("refused by policy");
              }
            },
          }
        : getBuiltinModule(id as "node:os")) as never);
    try {
      const warn = vi.fn();
      const single = await device({ threads: true }, warn);
      expect(single.threads).toBe(1);
      expect(warn).toHaveBeenCalledWith(
        expect.objectContaining({
          code: "NO_THREADS",
          message: expect.stringContaining("refused by policy"),
        }),
      );
      await single.run("run", new Map([["batch", 1]]), [], []);
      await single.dispose();
    } finally {
      refuse.mockRestore();
    }
  });

  it("need an engine with SIMD", async () => {
    await expect(device({ threads: true, simd: false })).rejects.toMatchObject({ code: "NO_DEVICE" });
  });
});
