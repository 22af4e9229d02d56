/** Self-checks of kernels as models are loaded: right devices pass, and a wrong kernel is found and named. */
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { TargetName } from "../codegen/schedule/plan.ts";
import { runForwardPipeline } from "../ir/passes/pipelines.ts";
import { parseGraph } from "../ir/text/parse.ts";
import type { WasmFeatures } from "../runtime/devices/wasm/features.ts";
import { type LoadOptions, load } from "../runtime/index.ts";
import type { Manifest } from "../runtime/manifest.ts";
import { fakeDriver, missingTools } from "./support/cuda/fake-driver.ts";
import { buildHostLibrary } from "./support/cuda/host-library.ts";
import { openGpu } from "./support/dawn.ts";
import { rejectionOf } from "./support/errors.ts";
import { memorySource, sha256Chunks } from "./support/fake-artifact.ts";
import { type ArtifactFiles, memoryArtifact } from "./support/memory-artifact.ts";
import { Random } from "./support/random.ts";
import { exactOps, graphs, randomTensors } from "./support/random-graph.ts";

/** What the engine is said to have, if not what it has. */
let claimed: WasmFeatures | undefined;
vi.mock("../runtime/devices/wasm/features.ts", async (importOriginal) => {
  const original = await importOriginal<typeof import("../runtime/devices/wasm/features.ts")>();
  return { wasmFeatures: () => claimed ?? original.wasmFeatures() };
});

const graph = parseGraph(`graph @counter(rows <= 12) {
  %x: input f32[rows, 128]
  %w: parameter "w" f32[8, 128] ternary(row)
  %sum: state "sum" f32[8]
  %codes: i8[rows, 128], %d: f32[rows, 1], %sums: i32[rows, 1] = quantize(%x) {bits = 8, granularity = "row"}
  %y: f32[rows, 8] = ternary_matmul(%codes, %sums, %w, %d) {epilogue = mul(to_f32(acc), x0)}
  %new: f32[8] = sum(%y) {axis = 0, keep_dims = false}
  %next: f32[8] = add(%sum, %new)
  next %sum = %next
  return "y" = %y, "total" = %next
}`);
const codes = Int8Array.from({ length: 8 * 128 }, (_, i) => (i % 3) - 1);
const parameters = {
  w: { type: graph.parameters[0]!.type, data: codes, scales: new Float32Array(8).fill(0.5) },
} as unknown as Parameters<typeof memoryArtifact>[1];

const artifact = (targets: readonly TargetName[]) => memoryArtifact({ run: graph }, parameters, 2, targets);
const open = (files: ArtifactFiles, options: LoadOptions = {}) =>
  load(memorySource(new Map(Object.entries(files))), { threads: 1, ...options });

/** The artifact with some files changed, and their hashes with them. */
function changed(
  files: ArtifactFiles,
  changes: ArtifactFiles,
  edit?: (manifest: Manifest) => void,
): ArtifactFiles {
  const manifest = JSON.parse(new TextDecoder().decode(files["manifest.json"])) as Manifest;
  const next = { ...files, ...changes };
  for (const file of manifest.files) {
    const bytes = next[file.path]!;
    Object.assign(file, { bytes: bytes.length, sha256: sha256Chunks(bytes) });
  }
  edit?.(manifest);
  return { ...next, "manifest.json": new TextEncoder().encode(JSON.stringify(manifest)) };
}

const manifestOf = (files: ArtifactFiles): Manifest =>
  JSON.parse(new TextDecoder().decode(files["manifest.json"]));

/** Another answer of one kernel's first check. */
function withWrongAnswer(files: ArtifactFiles, path: string, kernel: string): ArtifactFiles {
  const vectors = files[path]!;
  return changed(files, { [path]: Buffer.concat([vectors, new Uint8Array(4096).fill(0x55)]) }, (manifest) => {
    const { wasm, webgpu } = manifest.targets;
    const reads = [wasm, webgpu].flatMap((target) =>
      (target?.selfCheck?.checks ?? []).flatMap(({ runs }) => runs.flatMap((run) => run.reads)),
    );
    reads.find((read) => read.kernel === kernel)!.expected = vectors.length;
  });
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  claimed = undefined;
});

/** Sizes of what is computed must follow from inputs. */
const runnable = exactOps.filter((op) => op !== "broadcast");

test("WebAssembly passes, whatever the graph", () =>
  fc.assert(
    fc.asyncProperty(
      graphs({ ops: runnable, size: 10, castTo: ["f16", "bf16", "i8", "u8", "i32", "u32"] }),
      fc.integer(),
      async (random, seed) => {
        const entry = runForwardPipeline(random);
        const { parameters } = randomTensors(entry, new Random(seed));
        const files = await memoryArtifact({ run: entry }, parameters, 2);
        await (await open(files, { threads: 1 + (seed & 1), device: "wasm" })).dispose();
      },
    ),
    { numRuns: 30 },
  ));

test("a model with fewer cache slots than sequences can be built", async () => {
  const caching = parseGraph(`graph @caching(batch <= 4) {
    %x: input f32[batch, 1, 2, 8]
    %slots: input i32[batch]
    %positions: input i32[batch]
    %cache: state "cache" f32[2, 16, 2, 8]
    %written: f32[2, 16, 2, 8] = cache_write(%cache, %x, %slots, %positions)
    next %cache = %written
    return "all" = %written
  }`);
  const files = await memoryArtifact({ run: caching }, {}, 1, ["wasm"]);
  await (await open(files, { device: "wasm" })).dispose();
});

describe("WebAssembly", () => {
  test("leaves state zero, and says how long it took", async () => {
    const x = new Float32Array(128).fill(1);
    await using checked = await open(await artifact(["wasm"]));
    await using unchecked = await open(await artifact(["wasm"]), { selfCheck: false });
    expect(checked.selfCheckMs).toBeGreaterThan(0);
    expect(unchecked.selfCheckMs).toBeUndefined();
    expect(await checked.run({ x })).toEqual(await unchecked.run({ x }));
  });

  test("every kernel's wrong number is found, with its name", async () => {
    const files = await artifact(["wasm"]);
    const { selfCheck, kernels } = manifestOf(files).targets.wasm!;
    const checked = new Set(
      selfCheck!.checks.flatMap(({ runs }) => runs.flatMap(({ reads }) => reads.map(({ kernel }) => kernel))),
    );
    expect([...checked].sort()).toEqual(kernels.map(({ name }) => name).sort());
    for (const kernel of checked) {
      const error = await rejectionOf(open(withWrongAnswer(files, selfCheck!.path, kernel)));
      expect(error.code).toBe("SELF_CHECK_FAILED");
      expect(error.message).toMatch(new RegExp(`"${kernel}" computes wrongly on WebAssembly`));
      expect(error.expected).toMatch(/as element \d+ of its check/);
      expect(Number.isFinite(Number(error.received))).toBe(true);
    }
  });

  test("a cache is checked as a whole, of which the file has what is new", async () => {
    // Sizes that a check has to keep.
    const cached = parseGraph(`graph @cached(rows <= 3) {
      %x: input f32[1, rows, 2, 72]
      %slot: input i32[1]
      %position: input i32[1]
      %cache: state "cache" f32[1, 131, 2, 72]
      %next: f32[1, 131, 2, 72] = cache_write(%cache, %x, %slot, %position)
      next %cache = %next
      return "y" = %x
    }`);
    const files = await memoryArtifact({ run: cached }, new Map(), 1);
    const { path, checks } = manifestOf(files).targets.wasm!.selfCheck!;
    const whole = 4 * 131 * 2 * 72;
    const reads = checks.flatMap(({ runs }) => runs.flatMap((run) => run.reads));
    expect(reads.map(({ bytes }) => bytes)).toContain(whole);
    expect(files[path]!.length).toBeLessThan(whole / 2);
    await (await open(files)).dispose();
    const found = await rejectionOf(open(withWrongAnswer(files, path, "cache_write")));
    expect(found.code).toBe("SELF_CHECK_FAILED");
  });

  test("a module for relaxed SIMD that computes wrongly gives way to the other", async () => {
    claimed = { simd: true, relaxedSimd: true, threads: false };
    const files = await artifact(["wasm"]);
    const { baseline, relaxed } = manifestOf(files).targets.wasm!.modules;
    // f32x4.mul becomes f32x4.add.
    const wrong = Buffer.from(files[baseline!]!);
    for (let at = wrong.indexOf("fde601", 0, "hex"); at >= 0; at = wrong.indexOf("fde601", at, "hex"))
      wrong[at + 1] = 0xe4;
    const onWarning = vi.fn();
    await using model = await open(changed(files, { [relaxed!]: new Uint8Array(wrong) }), {
      onWarning,
    });
    expect(model.device.description).toContain("baseline SIMD");
    expect(onWarning).toHaveBeenCalledExactlyOnceWith({
      code: "NO_RELAXED_SIMD",
      message: expect.stringMatching(
        /^Running without relaxed SIMD: The kernel "\w+" computes wrongly on .*relaxed SIMD/,
      ),
    });
  });
});

describe("WebGPU", () => {
  /** The machine's GPU, which passes for one that is no software. */
  const offerGpu = async () => {
    const gpu = await openGpu();
    const over = <T extends object>(object: T, changes: object): T =>
      new Proxy(object, {
        get(target, key) {
          if (key in changes) return changes[key as never];
          const value = Reflect.get(target, key, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    const info = { isFallbackAdapter: false, description: "Real", vendor: "", architecture: "", device: "" };
    const requestAdapter = async () => over((await gpu.requestAdapter())!, { info });
    vi.stubGlobal("navigator", { gpu: over(gpu, { requestAdapter }) });
  };

  /** A kernel's text changed in every variant. */
  function withWrongShader(
    files: ArtifactFiles,
    kernel: string,
    right: string,
    wrong: string,
  ): ArtifactFiles {
    const { variants } = manifestOf(files).targets.webgpu!.kernels.find(({ name }) => name === kernel)!;
    const texts = variants.map(({ source }) => {
      const text = new TextDecoder().decode(files[source]);
      expect(text).toContain(right);
      return [source, new TextEncoder().encode(text.replaceAll(right, wrong))] as const;
    });
    return changed(files, Object.fromEntries(texts));
  }

  test("passes, and leaves state zero", async () => {
    await offerGpu();
    const files = await artifact(["wasm", "webgpu"]);
    const x = Float32Array.from({ length: 128 }, (_, i) => i % 7);
    await using model = await open(files);
    await using expected = await open(files, { device: "wasm" });
    expect(model.device.name).toBe("webgpu");
    expect(model.warnings).toEqual([]);
    expect((await model.run({ x })).total).toEqual((await expected.run({ x })).total);
  });

  test("a wrong kernel is an error where WebGPU is asked for", async () => {
    await offerGpu();
    const files = withWrongShader(
      await artifact(["wasm", "webgpu"]),
      "elementwise_add",
      "t0 + t1",
      "t0 - t1",
    );
    const error = await rejectionOf(open(files, { device: "webgpu" }));
    expect(error.code).toBe("SELF_CHECK_FAILED");
    expect(error.message).toContain(`"elementwise_add"`);
  });

  test.each([
    ["ternary_gemv_one_row_scale", "o < 4;", "o < 3;"],
    ["quantize", "127", "126"],
  ])("where %s is wrong WebAssembly runs instead", async (kernel, right, wrong) => {
    await offerGpu();
    const files = withWrongShader(await artifact(["wasm", "webgpu"]), kernel, right, wrong);
    const onWarning = vi.fn();
    await using model = await open(files, { onWarning });
    expect(model.device.name).toBe("wasm");
    const says = `^Running on WebAssembly: The kernel "${kernel}" computes wrongly on WebGPU.*expected .*, received .*\\)\\.$`;
    expect(onWarning).toHaveBeenCalledExactlyOnceWith({
      code: "NO_WEBGPU",
      message: expect.stringMatching(new RegExp(says)),
    });
  });
});

describe.skipIf(missingTools !== undefined)(`CUDA (${missingTools ?? "over a fake driver"})`, () => {
  /** An artifact with an image of its kernels, of which one may have another text. */
  async function withImage(edit: (text: string, kernel: string) => string): Promise<ArtifactFiles> {
    const files = await artifact(["wasm", "cuda"]);
    const { kernels } = manifestOf(files).targets.cuda!;
    const library = await buildHostLibrary(
      kernels.map(({ name, source, entryPoint, blockSize }) => ({
        text: edit(new TextDecoder().decode(files[source]), name),
        entryPoint,
        blockSize,
      })),
    );
    const bytes = new Uint8Array(await readFile(library));
    const image = { kind: "cubin", computeCapability: 90, path: "kernels.sm_90.cubin" } as const;
    return changed(files, { [image.path]: bytes }, ({ targets, files: listed }) => {
      targets.cuda!.images.push(image);
      listed.push({ path: image.path, bytes: bytes.length, sha256: sha256Chunks(bytes) });
    });
  }
  const machine = async () => {
    const driver = await fakeDriver();
    driver.configure({});
    for (const [name, value] of Object.entries(driver.environment)) vi.stubEnv(name, value);
    return driver;
  };

  test("passes, and leaves state zero", async () => {
    await machine();
    const files = await withImage((text) => text);
    const x = Float32Array.from({ length: 128 }, (_, i) => i % 7);
    await using model = await open(files);
    await using expected = await open(files, { device: "wasm" });
    expect(model.device.name).toBe("cuda");
    expect(model.warnings).toEqual([]);
    expect((await model.run({ x })).total).toEqual((await expected.run({ x })).total);
  }, 120_000);

  test("an image with a wrong kernel is found, and WebAssembly runs instead", async () => {
    const driver = await machine();
    const files = await withImage((text, kernel) => {
      if (kernel !== "quantize") return text;
      expect(text).toContain("127");
      return text.replaceAll("127", "126");
    });
    const error = await rejectionOf(open(files, { device: "cuda" }));
    expect(error).toMatchObject({
      code: "SELF_CHECK_FAILED",
      message: expect.stringMatching(/"quantize" computes wrongly on CUDA/),
    });
    const onWarning = vi.fn();
    await using model = await open(files, { onWarning });
    expect(model.device.name).toBe("wasm");
    expect(onWarning).toHaveBeenCalledExactlyOnceWith({
      code: "NO_CUDA",
      message: expect.stringMatching(
        /^Running on WebAssembly: The kernel "quantize" computes wrongly on CUDA.*received .*\)\.$/,
      ),
    });
    expect(driver.state()).toMatchObject({ handles: 0, allocatedBytes: 0 });
  }, 120_000);
});
