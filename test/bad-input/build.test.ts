import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomParameter, randomSource } from "../../src/checkpoint/random.ts";
import {
  bitLinear,
  type CompileOptions,
  compile,
  compileCheckpoint,
  defineModel,
  type ErrorCode,
  f32,
  linear,
  memorySource,
  openCheckpoint,
} from "../../src/index.ts";
import { type CheckpointName, checkpoints } from "../support/checkpoints.ts";
import { rejectionOf, unchecked } from "../support/errors.ts";
import { bytes, type Change, config, float, removed, replaced, tensors } from "../support/spoil.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-bad-input-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** An empty folder for one test. */
const emptyFolder = () => mkdtemp(join(folder, "case-"));

async function build(
  checkpointFolder: string,
  out: string,
  options: Partial<CompileOptions> = {},
): Promise<void> {
  const checkpoint = await openCheckpoint(checkpointFolder);
  try {
    await compileCheckpoint(checkpoint, { ...options, out });
  } finally {
    await checkpoint.source.close();
  }
}

const down = "model.layers.2.mlp.down_proj.weight";
const down_scale = `${down}_scale`;
const norm = "model.layers.1.input_layernorm.weight";

interface BadCheckpoint {
  readonly what: string;
  readonly from?: CheckpointName;
  readonly change: Change;
  readonly code: ErrorCode;
  /** What the message must name. */
  readonly names: readonly (string | RegExp)[];
}

const badCheckpoints: readonly BadCheckpoint[] = [
  {
    what: "weights cut short",
    change: bytes("model.safetensors", (all) => all.subarray(0, -1)),
    code: "CORRUPT_FILE",
    names: [/model\.safetensors is truncated: tensor "model\.\S+"/, "2854424 bytes", "2854423 bytes"],
  },
  {
    what: "weights cut short within the header",
    change: bytes("model.safetensors", (all) => all.subarray(0, 1000)),
    code: "CORRUPT_FILE",
    names: ["model.safetensors", /header in a file of 1000 bytes/, "byte 0"],
  },
  {
    what: "no weights",
    change: removed("model.safetensors"),
    code: "MISSING_FILE",
    names: ["checkpoint/model.safetensors"],
  },
  {
    what: "a folder in place of the weights",
    change: async (folder) => {
      await rm(join(folder, "model.safetensors"));
      await mkdir(join(folder, "model.safetensors"));
    },
    code: "MISSING_FILE",
    names: ["checkpoint/model.safetensors"],
  },
  {
    what: "the packed code 3",
    change: tensors((all) => {
      all.get(down)!.bytes[17 * 688 + 649] = 0b10_01_11_00;
    }),
    code: "INVALID_TENSOR",
    // Bit pair 1 of packed row 17 of 64.
    names: [down, "code 3", `row ${64 + 17}, column 649`],
  },
  {
    what: "packed rows that are no multiple of 4",
    change: config((it) => {
      it.intermediate_size = 690;
    }),
    code: "INVALID_TENSOR",
    names: ["model.layers.0.mlp.gate_proj.weight", "multiple of 4, and not 690"],
  },
  {
    what: "a missing tensor",
    change: tensors((all) => all.delete(norm)),
    code: "MISSING_TENSOR",
    names: [norm],
  },
  {
    what: "a tensor of another shape",
    change: tensors((all) => {
      all.set(norm, { dtype: "F32", shape: [255], bytes: new Uint8Array(4 * 255) });
    }),
    code: "INVALID_TENSOR",
    names: [norm, "[256]", "[255]"],
  },
  {
    what: "a tensor nobody knows",
    change: tensors((all) => {
      all.set("surprise", { dtype: "F32", shape: [1], bytes: new Uint8Array(4) });
    }),
    code: "INVALID_TENSOR",
    names: ["surprise"],
  },
  {
    what: "an unknown architecture",
    change: config((it) => {
      it.architectures = ["GPT2LMHeadModel"];
    }),
    code: "UNKNOWN_ARCHITECTURE",
    names: ["GPT2LMHeadModel", "BitNetForCausalLM", "config.json"],
  },
  {
    what: "NaN in the embedding",
    change: float("model.embed_tokens.weight", 3 * 256 + 7, Number.NaN),
    code: "INVALID_WEIGHTS",
    names: ["model.embed_tokens.weight", "NaN", "row 3, column 7"],
  },
  {
    what: "an infinity in a norm",
    change: float(norm, 11, Number.NEGATIVE_INFINITY),
    code: "INVALID_WEIGHTS",
    names: [norm, "-Infinity", "element 11"],
  },
  {
    what: "NaN in a scale",
    change: float(down_scale, 0, Number.NaN),
    code: "INVALID_WEIGHTS",
    names: [down_scale, "NaN"],
  },
  {
    what: "a scale of 0",
    change: float(down_scale, 0, 0),
    code: "INVALID_WEIGHTS",
    names: [down_scale, "a positive finite number"],
  },
  {
    what: "NaN in latent weights",
    from: "bitnet-tiny-latent",
    change: float(down, 5 * 688 + 1, Number.NaN),
    code: "INVALID_WEIGHTS",
    names: [down, "NaN", "row 5, column 1"],
  },
  {
    what: "a configuration that is not JSON",
    change: replaced("config.json", "{"),
    code: "CORRUPT_FILE",
    names: ["config.json"],
  },
  {
    what: "more layers than there can be",
    change: config((it) => {
      it.num_hidden_layers = 1e9;
    }),
    code: "INVALID_CONFIG",
    names: ["num_hidden_layers", "config.json"],
  },
  {
    what: "an end token outside the vocabulary",
    change: config((it) => {
      it.eos_token_id = [1, 2048];
    }),
    code: "INVALID_CONFIG",
    names: ["eos_token_id", "2048", "config.json"],
  },
  {
    what: "a context beyond any memory",
    change: config((it) => {
      it.max_position_embeddings = 1e12;
    }),
    code: "LIMIT_EXCEEDED",
    names: ["at most 4.29 GB", "state 4100 TB"],
  },
  {
    what: "a tokenizer that is no JSON",
    change: replaced("tokenizer.json", "{garbage"),
    code: "CORRUPT_FILE",
    names: ["tokenizer.json is not JSON"],
  },
  {
    what: "a tokenizer of nothing known",
    change: replaced("tokenizer.json", '{ "model": { "type": "Rune" } }'),
    code: "CORRUPT_FILE",
    names: ["tokenizer.json", "decoder"],
  },
];

describe("a build refuses a checkpoint with", () => {
  it.each(badCheckpoints)("$what", async ({ from = "bitnet-tiny-packed", change, code, names }) => {
    const parent = await emptyFolder();
    const checkpoint = join(parent, "checkpoint");
    await cp(checkpoints[from].folder, checkpoint, { recursive: true });
    await change(checkpoint);
    const error = await rejectionOf(build(checkpoint, join(parent, "made/on/the/way")));
    expect(error.code).toBe(code);
    for (const name of names) expect(error.message).toMatch(name);
    expect(await readdir(parent)).toEqual(["checkpoint"]);
  });
});

const small = defineModel({
  name: "small",
  inputs: { x: f32("batch", 8) },
  layers: { fc: linear(8, 8) },
  forward: ({ x }, { fc }) => ({ y: fc(x) }),
});
const weights = (dims = [8, 8]) =>
  memorySource(new Map([["fc.weight", { dims, data: new Float32Array(64) }]]));

describe("compile refuses", () => {
  it.each<[string, object, ErrorCode, readonly string[]]>([
    ["a head nobody knows", { head: "int4" }, "INVALID_OPTION", ["head", "int8", '"int4"']],
    ["no thread", { maxThreads: 0 }, "INVALID_OPTION", ["maxThreads", "1 to 255"]],
    ["more threads than a module can have", { maxThreads: 256 }, "INVALID_OPTION", ["maxThreads", "256"]],
    ["no batch", { bounds: { batch: 0 } }, "INVALID_OPTION", ["batch"]],
    ["a batch beyond any memory", { bounds: { batch: 1e8 } }, "LIMIT_EXCEEDED", ["at most 4.29 GB"]],
    [
      "a batch beyond what kernels count",
      { bounds: { batch: 1e9 } },
      "LIMIT_EXCEEDED",
      ["at most 2147483647 elements", "Lower the bounds of: batch"],
    ],
    ["a context for a model without", { bounds: { context: 5 } }, "INVALID_OPTION", ["no context"]],
    ["a bound that is misspelt", { bounds: { contxt: 5 } }, "INVALID_OPTION", ["contxt"]],
    ["an option that is misspelt", { haed: "int8" }, "INVALID_OPTION", ["haed"]],
    ["no weights at all", { weights: undefined }, "INVALID_OPTION", ["weights"]],
    ["no folder", { out: "" }, "INVALID_OPTION", ["out"]],
    ["a missing parameter", { weights: memorySource(new Map()) }, "MISSING_TENSOR", ["fc.weight"]],
    [
      "a parameter of another shape",
      { weights: weights([4, 16]) },
      "SHAPE_MISMATCH",
      ["fc.weight", "[8, 8]", "[4, 16]"],
    ],
    ["a file outside of the artifact", { files: { "../evil": "" } }, "INVALID_OPTION", ['"../evil"']],
    [
      "a file that is the artifact's own",
      { files: { "kernels.wasm": "" } },
      "INVALID_OPTION",
      ["kernels.wasm"],
    ],
  ])("%s", async (_, options, code, names) => {
    const parent = await emptyFolder();
    const out = join(parent, "out");
    const error = await rejectionOf(compile(small, { out, weights: weights(), ...options }));
    expect(error.code).toBe(code);
    for (const name of names) expect(error.message).toContain(name);
    expect(await readdir(parent)).toEqual([]);
  });

  it("what is no model", async () => {
    const error = await rejectionOf(compile(unchecked({}), { out: "never", weights: weights() }));
    expect(error.code).toBe("INVALID_MODEL");
  });

  it("a model beyond 4 GiB, naming what takes them, in no time", async () => {
    const vast = defineModel({
      name: "vast",
      inputs: { x: f32("batch", 100_000) },
      layers: { up: bitLinear(100_000, 200_000) },
      forward: ({ x }, { up }) => ({ y: up(x) }),
    });
    const parent = await emptyFolder();
    const source = randomSource(vast.parameters().map(randomParameter), 0);
    const error = await rejectionOf(compile(vast, { out: join(parent, "out"), weights: source }));
    expect(error.code).toBe("LIMIT_EXCEEDED");
    expect(error.message).toContain("at most 4.29 GB");
    expect(error.message).toMatch(/weights 5 GB \(largest: \S*up\.weight/);
    expect(await readdir(parent)).toEqual([]);
  });

  it("a chunk longer than the context", async () => {
    const parent = await emptyFolder();
    const { folder } = checkpoints["bitnet-tiny-packed"];
    const options = { bounds: { context: 32, chunk: 33 } };
    const error = await rejectionOf(build(folder, join(parent, "out"), options));
    expect(error.code).toBe("INVALID_OPTION");
    expect(error.message).toMatch(/chunk.*\n.*at most the context of 32 tokens\n.*33/);
    expect(await readdir(parent)).toEqual([]);
  });

  it.each([0, 1, 10])("to go on once aborted, after %i reports of progress", async (stop) => {
    const parent = await emptyFolder();
    const controller = new AbortController();
    let seen = 0;
    const onProgress = () => {
      if (seen++ === stop) controller.abort("enough");
    };
    const { folder } = checkpoints["bitnet-tiny-packed"];
    const options = { signal: controller.signal, onProgress };
    const error = await rejectionOf(build(folder, join(parent, "out"), options));
    expect(error).toMatchObject({ code: "ABORTED", cause: "enough" });
    expect(await readdir(parent)).toEqual([]);
  });

  it("to replace what is not an artifact, or an artifact with something else beside", async () => {
    const parent = await emptyFolder();
    const out = join(parent, "out");
    await compile(small, { out, weights: weights() });
    await compile(small, { out, weights: weights() });
    await writeFile(join(out, "thesis.txt"), "years of work");
    const error = await rejectionOf(compile(small, { out, weights: weights() }));
    expect(error).toMatchObject({ code: "WRITE_FAILED", received: "thesis.txt" });
    expect(error.message).toContain(out);
    expect(await readFile(join(out, "thesis.txt"), "utf8")).toBe("years of work");
    expect(await readdir(parent)).toEqual(["out"]);
  });

  it("to write below a file, and into a folder that is another's", async () => {
    const parent = await emptyFolder();
    await writeFile(join(parent, "file"), "");
    await mkdir(join(parent, "locked"), { mode: 0o555 });
    const places = ["file", "file/below"];
    // The superuser may write anywhere.
    if (process.getuid?.() !== 0 && process.platform !== "win32") places.push("locked/out");
    for (const place of places) {
      const error = await rejectionOf(compile(small, { out: join(parent, place), weights: weights() }));
      expect(error.code).toBe("WRITE_FAILED");
      expect(error.message).toContain(join(parent, "file").slice(0, -"file".length));
    }
    expect(await readdir(parent, { recursive: true })).toEqual(["file", "locked"]);
  });
});
