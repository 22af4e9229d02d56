import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ErrorCode,
  type GenerateOptions,
  type LanguageModel,
  loadLanguageModel,
  type Manifest,
  type Prompt,
} from "../../runtime/index.ts";
import { compileCheckpoint, openCheckpoint } from "../../src/index.ts";
import { checkpoints, readGolden } from "../support/checkpoints.ts";
import { rejectionOf, unchecked } from "../support/errors.ts";
import { bytes, type Change, flipped, inOrder, json, removed, replaced, sealed } from "../support/spoil.ts";

let folder: string;
let artifact: string;
let model: LanguageModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-bad-input-"));
  artifact = join(folder, "artifact");
  const checkpoint = await openCheckpoint(checkpoints["bitnet-tiny-packed"].folder);
  try {
    await compileCheckpoint(checkpoint, { out: artifact });
  } finally {
    await checkpoint.source.close();
  }
  model = await loadLanguageModel(artifact, { threads: 1 });
});
afterAll(async () => {
  await model?.dispose();
  await rm(folder, { recursive: true, force: true });
});

const manifest = (edit: (manifest: Manifest) => void): Change => json("manifest.json", edit);

/** Every variant: which one is loaded depends on the engine. */
const everyModule = (change: (name: string) => Change): Change =>
  inOrder(
    ...["", ".simd-relaxed", ".threads", ".threads.simd-relaxed"].map((variant) =>
      change(`kernels${variant}.wasm`),
    ),
  );

const decodeStep = ({ targets }: Manifest) => targets.wasm!.plans.decode![3]!;

describe("load refuses an artifact with", () => {
  it.each<[string, Change, ErrorCode, readonly (string | RegExp)[]]>([
    [
      "weights cut short",
      bytes("weights.safetensors", (all) => all.subarray(0, -1)),
      "CORRUPT_FILE",
      ["weights.safetensors has the wrong length", /expected: \d{7} bytes/, /received: \d{7} bytes/],
    ],
    [
      "an altered byte of the weights",
      flipped("weights.safetensors", 2_000_000),
      "CORRUPT_FILE",
      ["weights.safetensors is corrupt", /weights\.safetensors bytes 0 to \d{7}/, "sha256"],
    ],
    ["no weights", removed("weights.safetensors"), "MISSING_FILE", ["weights.safetensors"]],
    [
      "an altered byte of the module",
      everyModule((name) => flipped(name, 5000)),
      "CORRUPT_FILE",
      [/kernels\S*\.wasm is corrupt/, /bytes 0 to \d+/],
    ],
    [
      "a module that is none",
      everyModule((name) => inOrder(replaced(name, "not a module"), sealed(name))),
      "NO_DEVICE",
      [/does not compile kernels\S*\.wasm/],
    ],
    [
      "an altered byte of the tokenizer",
      flipped("tokenizer.json", 40_000),
      "CORRUPT_FILE",
      ["tokenizer.json is corrupt"],
    ],
    [
      "a tokenizer that is no JSON",
      inOrder(replaced("tokenizer.json", "garbage"), sealed("tokenizer.json")),
      "CORRUPT_FILE",
      ["tokenizer.json is not JSON"],
    ],
    [
      "a tokenizer that says nothing",
      inOrder(replaced("tokenizer.json", "{}"), sealed("tokenizer.json")),
      "CORRUPT_FILE",
      ["tokenizer.json", "model"],
    ],
    ["no manifest", removed("manifest.json"), "MISSING_FILE", ["manifest.json"]],
    [
      "a manifest that is no JSON",
      replaced("manifest.json", '{ "format": '),
      "INVALID_MANIFEST",
      ["not JSON"],
    ],
    [
      "a manifest cut short",
      bytes("manifest.json", (all) => all.subarray(0, 5000)),
      "INVALID_MANIFEST",
      ["not JSON"],
    ],
    [
      "a stranger's manifest",
      replaced("manifest.json", '{ "name": "a web app" }'),
      "INVALID_MANIFEST",
      ["manifest.json.format", '"bitloom"'],
    ],
    [
      "a later format",
      json("manifest.json", (it) => {
        it.formatVersion = 99;
      }),
      "UNSUPPORTED_FORMAT",
      ["format version 99"],
    ],
    [
      "a manifest without weights",
      json("manifest.json", (it) => {
        delete it.weights;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.weights"],
    ],
    [
      "a negative size",
      manifest((it) => {
        it.regions.state = -1;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.regions.state", "-1"],
    ],
    [
      "a file outside of it",
      manifest((it) => {
        it.files[0]!.path = "../../secret";
      }),
      "INVALID_MANIFEST",
      ["manifest.json.files[0].path", "../../secret"],
    ],
    [
      "a step of an unknown kernel",
      manifest((it) => {
        decodeStep(it).kernel = "nothing";
      }),
      "INVALID_MANIFEST",
      ["manifest.json.targets.wasm.plans.decode[3].kernel", "nothing"],
    ],
    [
      "a step that reads beyond the weights",
      manifest((it) => {
        const step = decodeStep(it).arguments.find((argument) => argument.kind === "buffer")!;
        Object.assign(step, { region: "weights", offset: it.weights.bytes + 64 });
      }),
      "INVALID_MANIFEST",
      ["manifest.json.targets.wasm.plans.decode[3].arguments", "inside the weights region"],
    ],
    [
      "regions that overlap",
      manifest((it) => {
        it.targets.wasm!.memory.weights = it.targets.wasm!.memory.io;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.targets.wasm.memory"],
    ],
    [
      "more memory than an address can reach",
      manifest((it) => {
        it.targets.wasm!.memory.totalBytes = 2 ** 32 + 65_536;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.targets.wasm.memory.totalBytes", `at most ${2 ** 32}`],
    ],
    [
      "fewer hashes than pieces",
      manifest((it) => {
        it.files[0]!.sha256 = [];
      }),
      "INVALID_MANIFEST",
      ["manifest.json.files[0].sha256", "1 hashes"],
    ],
    [
      "a context shorter than a chunk",
      manifest((it) => {
        it.languageModel!.contextLength = 1;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.languageModel.chunkLength"],
    ],
    [
      "no entry that decodes",
      manifest((it) => {
        delete it.entries.decode;
      }),
      "INVALID_MANIFEST",
      ["manifest.json.entries", "decode"],
    ],
  ])("%s", async (_, change, code, names) => {
    const spoilt = join(await mkdtemp(join(folder, "case-")), "artifact");
    await cp(artifact, spoilt, { recursive: true });
    await change(spoilt);
    const error = await rejectionOf(loadLanguageModel(spoilt, { threads: 1 }));
    expect(error.code).toBe(code);
    for (const name of names) expect(error.message).toMatch(name);
  });

  it("an end that was asked for", async () => {
    for (const file of ["kernels", "weights.safetensors", "tokenizer.json"]) {
      const controller = new AbortController();
      const loading = loadLanguageModel(artifact, {
        threads: 1,
        signal: controller.signal,
        onProgress: (event) => {
          if (event.file.startsWith(file)) controller.abort(`at ${file}`);
        },
      });
      expect(await rejectionOf(loading)).toMatchObject({ code: "ABORTED", cause: `at ${file}` });
    }
  });
});

describe("a language model refuses", () => {
  const long = Array.from({ length: 513 }, (_, index) => index % 100);

  it.each<[string, Prompt, ErrorCode, readonly string[]]>([
    ["a prompt beyond the context", long, "CONTEXT_OVERFLOW", ["at most 512 tokens", "513 tokens"]],
    ["a text beyond the context", "word ".repeat(600), "CONTEXT_OVERFLOW", ["at most 512 tokens"]],
    ["a token beyond the vocabulary", [1, 2048, 3], "TOKEN_OUT_OF_RANGE", ["0 to 2047", "2048 at index 1"]],
    ["a negative token", [-1], "TOKEN_OUT_OF_RANGE", ["-1 at index 0"]],
    ["half a token", [0.5], "TOKEN_OUT_OF_RANGE", ["0.5 at index 0"]],
    ["an empty prompt", [], "INVALID_INPUT", ["prompt is empty"]],
    ["a conversation without turns", unchecked([{}]), "INVALID_INPUT", ["chat template"]],
  ])("%s", async (_, prompt, code, names) => {
    const error = await rejectionOf(model.generate(prompt, { maxTokens: 1 }).finish());
    expect(error.code).toBe(code);
    for (const name of names) expect(error.message).toContain(name);
  });

  it.each<[keyof GenerateOptions, unknown]>([
    ["maxTokens", 0],
    ["temperature", -1],
    ["temperature", Number.NaN],
    ["topK", 0.5],
    ["topP", 2],
    ["minP", -0.1],
    ["repetitionPenalty", 0],
    ["seed", 1.5],
  ])("the option %s of %d", async (name, value) => {
    const error = await rejectionOf((async () => model.generate([1], { [name]: value }).finish())());
    expect(error.code).toBe("INVALID_OPTION");
    expect(error.message).toContain(name);
  });

  it("tokens and positions that point outside of its memory", async () => {
    const at = (token: number, position: number, slot: number) =>
      rejectionOf(
        model.run({
          tokens: { data: Int32Array.of(token), dims: [1, 1] },
          positions: Int32Array.of(position),
          slots: Int32Array.of(slot),
        }),
      );
    expect(await at(2048, 0, 0)).toMatchObject({ code: "TOKEN_OUT_OF_RANGE" });
    expect(await at(1, 512, 0)).toMatchObject({ code: "INVALID_INPUT", received: "512 at index 0" });
    expect(await at(1, 0, 1)).toMatchObject({ code: "INVALID_INPUT", received: "1 at index 0" });
  });

  it("to go on once aborted", async () => {
    const controller = new AbortController();
    const answer = model.generate("Return a", { signal: controller.signal });
    const failure = rejectionOf(
      (async () => {
        for await (const _ of answer) if (answer.result.tokens.length === 3) controller.abort("enough");
      })(),
    );
    expect(await failure).toMatchObject({ code: "ABORTED", cause: "enough" });
    expect(answer.result.tokens).toHaveLength(3);
  });

  it("nothing that is right, after all of this", async () => {
    const [golden] = await readGolden("bitnet-tiny-packed");
    const expected = golden!.greedy_ids.slice(golden!.input_ids.length);
    const { tokens } = await model
      .generate(golden!.prompt, { maxTokens: expected.length, ignoreStopTokens: true })
      .finish();
    expect(tokens).toEqual(expected);
  });
});
