import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rejectionOf, unchecked } from "../../test/support/errors.ts";
import { openCheckpoint } from "../checkpoint/huggingface.ts";
import { safetensorsSource } from "../checkpoint/safetensors-source.ts";
import { memorySource } from "../checkpoint/source.ts";
import { defineModel, f32, relu2 } from "../dsl/index.ts";
import { compileCheckpoint } from "./checkpoint.ts";
import { compile } from "./compile.ts";

const model = defineModel({
  name: "plain",
  inputs: { x: f32("batch", 4) },
  layers: {},
  forward: ({ x }) => ({ y: relu2(x) }),
});
const weights = memorySource(new Map());

let folder: string;
let out: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-compile-"));
  out = join(folder, "artifact");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it("writes the files it is given beside its own", async () => {
  await compile(model, {
    out,
    weights,
    files: { "labels.txt": "a\nb\n", "more/data.bin": Uint8Array.of(1) },
  });
  expect(existsSync(join(out, "labels.txt"))).toBe(true);
  expect(existsSync(join(out, "more/data.bin"))).toBe(true);
});

type Case = [name: string, change: object | null | undefined];

describe("refuses before it writes anything", () => {
  it.each<Case>([
    ["no options", undefined],
    ["null for options", null],
    ["no bounds", { bounds: null }],
    ["no place", { out: "" }],
    ["no files", { files: null }],
    ["a list of files", { files: ["a.txt"] }],
    ["an unknown option", { ouput: "x" }],
    ["a number for a file", { files: { "a.txt": 5 } }],
    ["nothing for a file", { files: { "a.txt": undefined } }],
    ["a file outside of the artifact", { files: { "../a.txt": "" } }],
    ...["manifest.json", "index.js", "index.d.ts", "package.json", "kernels.wasm", "kernels/a.wat"].map(
      (name): Case => [`a file called ${name}`, { files: { [name]: "" } }],
    ),
    ["a file called weights.safetensors", { files: { "weights.safetensors": "" } }],
    ["a shard", { files: { "weights-00001-of-00002.safetensors": "" } }],
  ])("%s", async (_, change) => {
    const options = change === undefined || change === null ? change : { out, weights, ...change };
    expect((await rejectionOf(compile(model, unchecked(options)))).code).toBe("INVALID_OPTION");
    expect(await readdir(folder)).toEqual([]);
  });
});

it.each([undefined, null, 5, {}])("%j is neither a checkpoint nor the path of one", async (nothing) => {
  const calls = [
    compileCheckpoint(unchecked(nothing), { out }),
    openCheckpoint(unchecked(nothing)),
    safetensorsSource(unchecked(nothing)),
  ];
  for (const call of calls) expect((await rejectionOf(call)).code).toBe("INVALID_OPTION");
});
