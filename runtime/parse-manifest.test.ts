import { fc, it as property } from "@fast-check/vitest";
import { beforeAll, describe, expect, it } from "vitest";
import { fakeArtifact } from "../test/support/fake-artifact.ts";
import { BitloomError } from "./index.ts";
import type { Manifest } from "./manifest.ts";
import { checkManifest, parseManifest } from "./parse-manifest.ts";

let good: Manifest;
beforeAll(async () => {
  good = (
    await fakeArtifact({ languageModel: true, weightsBytes: 5000, targets: ["wasm", "webgpu", "cuda"] })
  ).manifest;
});

/** A deep copy that `change` may spoil; untyped, as what comes from outside is. */
// biome-ignore lint/suspicious/noExplicitAny: any place of the manifest is spoilt
const spoilt = (change: (manifest: any) => void): unknown => {
  const copy = JSON.parse(JSON.stringify(good));
  change(copy);
  return copy;
};

describe("parseManifest", () => {
  it("takes what the compiler writes", () => {
    expect(parseManifest(JSON.stringify(good))).toEqual(good);
  });

  it("says when the format is another version", () => {
    expect(() => checkManifest(spoilt((m) => (m.formatVersion = 99)))).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_FORMAT", received: "format version 99" }),
    );
  });

  it.each([
    ["not JSON", "{", undefined],
    ["a page instead", "<!doctype html>", undefined],
    ["null", "null", "manifest.json"],
    ["another format", '{"format":"onnx"}', "manifest.json.format"],
    ["no version", '{"format":"bitloom"}', "manifest.json.formatVersion"],
  ])("refuses %s", (_, text, location) => {
    expect(() => parseManifest(text)).toThrow(
      expect.objectContaining({ code: "INVALID_MANIFEST", location }),
    );
  });

  // biome-ignore lint/suspicious/noExplicitAny: any place of the manifest is spoilt
  it.each<[string, (manifest: any) => void]>([
    ["files[0].path", (m) => (m.files[0].path = "../secret")],
    ["files[0].path", (m) => (m.files[0].path = "a/../../secret")],
    ["files[0].path", (m) => (m.files[0].path = "/etc/passwd")],
    ["files[0].path", (m) => (m.files[0].path = "C:\\secret")],
    ["files[0].path", (m) => (m.files[0].path = "https://elsewhere/kernels.wasm")],
    ["files[0].path", (m) => (m.files[0].path = "//elsewhere")],
    ["files[1].path", (m) => (m.files[1].path = m.files[0].path)],
    ["files[0].bytes", (m) => (m.files[0].bytes = -1)],
    ["files[0].bytes", (m) => (m.files[0].bytes = 2 ** 60)],
    ["files[0].sha256", (m) => (m.files[0].bytes = 2 ** 40)],
    ["files[0].sha256[0]", (m) => (m.files[0].sha256[0] = "00")],
    ["weights.bytes", (m) => (m.weights.bytes += 1)],
    ["weights.shards[0].bytes", (m) => (m.weights.shards[0].bytes += 1)],
    ["weights.shards[0].bytes", (m) => (m.weights.shards[0].dataOffset = 2 ** 52)],
    ["weights.shards[0].regionOffset", (m) => (m.weights.shards[0].regionOffset = 16)],
    ["weights.shards[0].path", (m) => (m.weights.shards[0].path = "elsewhere")],
    ["entries.run.inputs[0].offset", (m) => (m.entries.run.inputs[0].offset = 16)],
    ["entries.run.inputs[0].offset", (m) => (m.entries.run.inputs[0].offset = 2 ** 32)],
    ["entries.run.inputs[0].bytes", (m) => (m.entries.run.inputs[0].bytes = 4)],
    ["entries.run.inputs[0].bytes", (m) => (m.entries.run.inputs[0].dims = [2 ** 31, 2 ** 31])],
    ["entries.run.inputs[0].dims[0]", (m) => (m.entries.run.inputs[0].dims[0] = "constructor")],
    ["entries.run.outputs[0].dims[0]", (m) => (m.entries.run.inputs[0].dims[0] = 1)],
    ["entries.run.outputs[1].name", (m) => (m.entries.run.outputs[1].name = "y")],
    ["entries.run.symbols.batch", (m) => (m.entries.run.symbols.batch = 0)],
    ["entries.run.minimums.batch", (m) => (m.entries.run.minimums = { batch: 1000 })],
    ["entries.run.minimums.seq", (m) => (m.entries.run.minimums = { seq: 1 })],
    ["targets.wasm.plans.run[0].kernel", (m) => (m.targets.wasm.plans.run[0].kernel = "triple")],
    ["targets.wasm.plans.run[0].serves", (m) => (m.targets.wasm.plans.run[0].serves = ["y", "z"])],
    ["targets.wasm.plans.run[0].range", (m) => (m.targets.wasm.plans.run[0].range = "rows")],
    [
      "targets.wasm.plans.run[0].arguments[0].offset",
      (m) => (m.targets.wasm.plans.run[0].arguments[0].offset = ["mul", "batch", 10_000]),
    ],
    [
      "targets.wasm.plans.run[0].arguments[0].offset",
      (m) => (m.targets.wasm.plans.run[0].arguments[0].offset = ["add", "batch", -2]),
    ],
    ["targets.wasm.plans.run", (m) => delete m.targets.wasm.plans.run],
    ["targets.wasm.plans.stop", (m) => (m.targets.wasm.plans.stop = [])],
    ["targets.wasm.modules.baseline", (m) => (m.targets.wasm.modules.baseline = "elsewhere.wasm")],
    ["targets.wasm.memory.totalBytes", (m) => (m.targets.wasm.memory.totalBytes = 2 ** 33)],
    ["targets.wasm.memory.totalBytes", (m) => (m.targets.wasm.memory.totalBytes = 16)],
    ["targets.wasm.memory.maxThreads", (m) => (m.targets.wasm.memory.maxThreads = 100_000)],
    ["targets.wasm.memory.weights", (m) => (m.targets.wasm.memory.weights = m.targets.wasm.memory.io)],
    ["targets.wasm.memory.symbols", (m) => (m.targets.wasm.memory.symbols = 2)],
    ["targets.wasm.symbolOrder", (m) => (m.targets.wasm.symbolOrder = ["seq"])],
    ["languageModel.contextLength", (m) => (m.languageModel.contextLength = 1000)],
    ["languageModel.contextLength", (m) => (m.languageModel.slots = 2)],
    ["languageModel.candidates", (m) => (m.languageModel.candidates = 10_000)],
    ["entries.prefill.outputs", (m) => (m.languageModel.candidates = 2)],
    ["entries.decode.outputs", (m) => m.entries.decode.outputs.splice(0, 1)],
    ["entries.decode.outputs", (m) => (m.entries.decode.outputs[2].dtype = "f32")],
    ["entries.prefill.outputs", (m) => m.entries.prefill.outputs.pop()],
    ["targets.webgpu.buffers.weights[0]", (m) => (m.targets.webgpu.buffers.weights[0] = 256)],
    ["targets.webgpu.buffers.weights[1]", (m) => (m.targets.webgpu.buffers.weights[1] = 1025)],
    ["targets.webgpu.buffers.weights[1]", (m) => (m.targets.webgpu.buffers.weights[1] = 2 ** 20)],
    ["targets.webgpu.buffers.state", (m) => (m.targets.webgpu.buffers.state = [])],
    ["targets.webgpu.kernels[0].variants", (m) => (m.targets.webgpu.kernels[0].variants = [])],
    ["targets.webgpu.kernels[0].variants[0].requires", (m) => m.targets.webgpu.kernels[0].variants.pop()],
    [
      "targets.webgpu.kernels[0].variants[0].source",
      (m) => (m.targets.webgpu.kernels[0].variants[0].source = "a"),
    ],
    [
      "targets.webgpu.kernels[1].variants[0].bindings[0].parameter",
      (m) => (m.targets.webgpu.kernels[1].variants[0].bindings[0].parameter = "z"),
    ],
    ["targets.webgpu.plans.run[0].kernel", (m) => (m.targets.webgpu.plans.run[0].kernel = "triple")],
    ["targets.webgpu.plans.run[0].rangeY", (m) => (m.targets.webgpu.plans.run[0].rangeY = "rows")],
    ["targets.webgpu.plans.run[0].arguments", (m) => m.targets.webgpu.plans.run[0].arguments.pop()],
    [
      "targets.webgpu.plans.run[0].arguments[0].kind",
      (m) => (m.targets.webgpu.plans.run[0].arguments[0] = { kind: "scratch" }),
    ],
    [
      "targets.webgpu.plans.run[0].arguments[1].bytes",
      (m) => delete m.targets.webgpu.plans.run[0].arguments[1].bytes,
    ],
    [
      "targets.webgpu.plans.run[0].arguments[1].offset",
      (m) => (m.targets.webgpu.plans.run[0].arguments[1].offset = 4),
    ],
    [
      "targets.webgpu.plans.run[0].arguments[1].offset",
      (m) => (m.targets.webgpu.plans.run[0].arguments[1].offset = ["mul", "batch", 128]),
    ],
    [
      "targets.webgpu.plans.run[0].arguments[1].bytes",
      (m) => (m.targets.webgpu.plans.run[0].arguments[1].bytes = 257),
    ],
    [
      "targets.webgpu.plans.run[0].arguments[1]",
      (m) => (m.targets.webgpu.plans.run[0].arguments[1].offset = 0),
    ],
    [
      "targets.webgpu.plans.run[1].arguments[3].kind",
      (m) => (m.targets.webgpu.plans.run[1].arguments[3].kind = "f32"),
    ],
    ["targets.cuda.kernels[0].source", (m) => (m.targets.cuda.kernels[0].source = "elsewhere.cu")],
    ["targets.cuda.kernels[0].entryPoint", (m) => (m.targets.cuda.kernels[0].entryPoint = "a b")],
    ["targets.cuda.kernels[0].blockSize", (m) => (m.targets.cuda.kernels[0].blockSize = 2048)],
    ["targets.cuda.kernels[0].sharedBytes", (m) => (m.targets.cuda.kernels[0].sharedBytes = 2 ** 20)],
    [
      "targets.cuda.kernels[0].launch[0].parameter",
      (m) => (m.targets.cuda.kernels[0].launch[0].parameter = "z"),
    ],
    [
      "targets.cuda.images[0].path",
      (m) => (m.targets.cuda.images = [{ kind: "cubin", computeCapability: 90, path: "elsewhere.cubin" }]),
    ],
    ["targets.cuda.plans.run[0].kernel", (m) => (m.targets.cuda.plans.run[0].kernel = "triple")],
    ["targets.cuda.plans.run[0].arguments", (m) => m.targets.cuda.plans.run[0].arguments.pop()],
    [
      "targets.cuda.plans.run[0].arguments[0].kind",
      (m) => (m.targets.cuda.plans.run[0].arguments[0] = { kind: "f32", value: 1 }),
    ],
    [
      "targets.cuda.plans.run[0].arguments[0].offset",
      (m) => (m.targets.cuda.plans.run[0].arguments[0].offset = 2),
    ],
    ["languageModel.chunkLength", (m) => (m.languageModel.chunkLength = 1000)],
    ["languageModel", (m) => (m.languageModel.bosToken = 32)],
    ["entries", (m) => delete m.entries.decode],
    ["entries.prefill.inputs", (m) => (m.entries.prefill.inputs[0].dtype = "f32")],
    ["entries.decode.outputs", (m) => (m.entries.decode.outputs[0].name = "scores")],
    ["states[0].dims[0]", (m) => (m.states[0].dims = ["seq"])],
    ["states[0].bytes", (m) => m.states[0].dims.push(2)],
    ["states[0].offset", (m) => (m.states[0].offset = 4)],
    ["states[0].offset", (m) => (m.states[0].offset = 2 ** 20)],
    ["states[1].name", (m) => m.states.push(m.states[0])],
    ["regions.io", (m) => (m.regions.io = "large")],
    ["name", (m) => delete m.name],
  ])("names %s when it is wrong", (path, change) => {
    expect(() => checkManifest(spoilt(change))).toThrow(
      expect.objectContaining({
        code: "INVALID_MANIFEST",
        location: expect.stringContaining(`manifest.json.${path}`),
      }),
    );
  });

  describe("of a self-check", () => {
    // biome-ignore lint/suspicious/noExplicitAny: any place of the manifest is spoilt
    it.each<[string, (selfCheck: any) => void]>([
      ["path", (c) => (c.path = "elsewhere")],
      ["path", (c) => (c.path = "../secret")],
      ["checks", (c) => (c.checks = 1)],
      ["checks[0].name", (c) => (c.checks[0].name = "run")],
      ["checks[1].name", (c) => c.checks.push(c.checks[0])],
      ["checks[0].steps[0].kernel", (c) => (c.checks[0].steps[0].kernel = "triple")],
      ["checks[0].steps[0].range", (c) => (c.checks[0].steps[0].range = "batch")],
      ["checks[0].steps[0].arguments", (c) => c.checks[0].steps[0].arguments.pop()],
      ["checks[0].steps[0].arguments[0].region", (c) => (c.checks[0].steps[0].arguments[0].region = "state")],
      ["checks[0].steps[0].arguments[1].offset", (c) => (c.checks[0].steps[0].arguments[1].offset = 2 ** 32)],
      ["checks[0].runs[0].symbols.rows", (c) => (c.checks[0].symbols = { rows: 4 })],
      [
        "checks[0].runs[0].symbols.rows",
        (c) => {
          c.checks[0].symbols = { rows: 4 };
          c.checks[0].runs[0].symbols = { rows: 5 };
        },
      ],
      ["checks[0].runs[0].writes[0].offset", (c) => (c.checks[0].runs[0].writes[0].offset = 4)],
      ["checks[0].runs[0].writes[0].offset", (c) => (c.checks[0].runs[0].writes[0].offset = 2 ** 32)],
      ["checks[0].runs[0].writes[0].offset", (c) => (c.checks[0].runs[0].writes[0].bytes = 2 ** 40)],
      ["checks[0].runs[0].writes[0].data", (c) => (c.checks[0].runs[0].writes[0].data = 100)],
      ["checks[0].runs[0].writes[0].stored", (c) => (c.checks[0].runs[0].writes[0].stored = 0)],
      ["checks[0].runs[0].reads[0].kernel", (c) => (c.checks[0].runs[0].reads[0].kernel = "checksum")],
      ["checks[0].runs[0].reads[0].region", (c) => (c.checks[0].runs[0].reads[0].region = "weights")],
      ["checks[0].runs[0].reads[0].region", (c) => (c.checks[0].runs[0].reads[0].region = "disk")],
      ["checks[0].runs[0].reads[0].offset", (c) => (c.checks[0].runs[0].reads[0].offset = 2)],
      ["checks[0].runs[0].reads[0].offset", (c) => (c.checks[0].runs[0].reads[0].offset = -4)],
      ["checks[0].runs[0].reads[0].offset", (c) => (c.checks[0].runs[0].reads[0].offset = 2 ** 32)],
      ["checks[0].runs[0].reads[0].bytes", (c) => (c.checks[0].runs[0].reads[0].bytes = 14)],
      [
        "checks[0].runs[0].reads[0].bytes",
        (c) => Object.assign(c.checks[0].runs[0].reads[0], { parts: 3, tolerances: 0 }),
      ],
      ["checks[0].runs[0].reads[0].expected", (c) => (c.checks[0].runs[0].reads[0].expected = 24)],
      ["checks[0].runs[0].reads[0].stored", (c) => (c.checks[0].runs[0].reads[0].stored = 0)],
      ["checks[0].runs[0].reads[0].expected", (c) => (c.checks[0].runs[0].reads[0].stored = 2 ** 20)],
      [
        "checks[0].runs[0].reads[0].patches[0].at",
        (c) => (c.checks[0].runs[0].reads[0].patches = [{ at: 12, bytes: 8, data: 0 }]),
      ],
      [
        "checks[0].runs[0].reads[0].patches[0].data",
        (c) => (c.checks[0].runs[0].reads[0].patches = [{ at: 0, bytes: 8, data: 32 }]),
      ],
      ["checks[0].runs[0].reads[0].tolerances", (c) => (c.checks[0].runs[0].reads[0].tolerances = 36)],
      ["checks[0].runs[0].reads[0].dtype", (c) => (c.checks[0].runs[0].reads[0].dtype = "f8")],
    ])("names %s when it is wrong", (path, change) => {
      expect(() => checkManifest(spoilt((m) => change(m.targets.webgpu.selfCheck)))).toThrow(
        expect.objectContaining({
          code: "INVALID_MANIFEST",
          location: expect.stringContaining(`manifest.json.targets.webgpu.selfCheck.${path}`),
        }),
      );
    });

    it("is not needed", () => {
      expect(() => checkManifest(spoilt((m) => delete m.targets.webgpu.selfCheck))).not.toThrow();
    });
  });

  it("refuses keys that mean something else to JavaScript", () => {
    const text = JSON.stringify(good).replace('"decode":', '"__proto__":');
    expect(() => parseManifest(text)).toThrow(expect.objectContaining({ code: "INVALID_MANIFEST" }));
  });

  it("survives nesting without end", () => {
    const depth = 20_000;
    const deep = `${'["add",1,'.repeat(depth)}1${"]".repeat(depth)}`;
    const text = JSON.stringify(spoilt((m) => (m.targets.wasm.plans.run[0].range = "@"))).replace(
      '"@"',
      deep,
    );
    expect(() => parseManifest(text)).toThrow(expect.objectContaining({ code: "INVALID_MANIFEST" }));
  });

  property.prop([fc.nat(), fc.jsonValue({ maxDepth: 2 })], { numRuns: 300 })(
    "answers any replaced value with a manifest or a coded error",
    (pick, replacement) => {
      const places: [Record<string, unknown>, string][] = [];
      const visit = (node: unknown) => {
        if (typeof node !== "object" || node === null) return;
        for (const key of Object.keys(node)) {
          places.push([node as Record<string, unknown>, key]);
          visit((node as Record<string, unknown>)[key]);
        }
      };
      const copy = JSON.parse(JSON.stringify(good));
      visit(copy);
      const [parent, key] = places[pick % places.length]!;
      parent[key] = replacement;
      try {
        checkManifest(copy);
      } catch (error) {
        expect(error).toBeInstanceOf(BitloomError);
        expect(["INVALID_MANIFEST", "UNSUPPORTED_FORMAT"]).toContain((error as BitloomError).code);
      }
    },
  );
});
