import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type InstalledPackage, installPackage } from "../../test/support/cli.ts";
import { writeTinyLlama } from "../../test/support/llama-folder.ts";
import { writeTensors } from "../../test/support/safetensors.ts";

const bigram = `import { defineLanguageModel, embedding, linear } from "bitloom";
export default defineLanguageModel({
  name: "bigram",
  vocabularySize: 16,
  contextLength: 40,
  layers: { embed: embedding(16, 8), mix: linear(8, 8) },
  forward: (tokens, { embed, mix }) => embed.head(mix(embed(tokens))),
});
`;
const plain = (name: string, forward: string) => `import { defineModel, f32, linear, relu2 } from "bitloom";
export default defineModel({
  name: "${name}",
  inputs: { x: f32("batch", 8) },
  layers: ${name === "bare" ? "{}" : "{ fc: linear(8, 8) }"},
  forward: ${forward},
});
`;
const files: Readonly<Record<string, string>> = {
  "bigram.ts": bigram,
  "plain.ts": plain("plain", "({ x }, { fc }) => ({ y: fc(x) })"),
  "bare.ts": plain("bare", "({ x }) => ({ y: relu2(x) })"),
  "typo.ts": plain("typo", "({ x }, { fc }) => ({ y: fc(relu9(x)) })"),
  "nothing.ts": plain("nothing", "({ x }, { fc }) => { fc(x); }"),
  "throws.ts": 'import "bitloom";\n\nundefinedFunction();\n',
};

/** A safetensors file of zeros under these names. */
const writeZeros = (name: string, tensors: Readonly<Record<string, readonly number[]>>) =>
  writeTensors(
    join(folder, name),
    new Map(
      Object.entries(tensors).map(([tensor, shape]) => {
        const bytes = new Uint8Array(4 * shape.reduce((product, dim) => product * dim, 1));
        return [tensor, { dtype: "F32", shape: [...shape], bytes }];
      }),
    ),
  );

let bitloom: InstalledPackage;
let folder: string;
const run = (...args: readonly string[]) => bitloom.run(args, { cwd: folder });

beforeAll(async () => {
  [bitloom, folder] = await Promise.all([installPackage(), mkdtemp(join(tmpdir(), "bitloom-commands-"))]);
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await writeZeros("extra.safetensors", { "fc.weight": [8, 8], "fc.bias": [8], head: [2] });
  await writeZeros("wide.safetensors", { "fc.weight": [8, 9] });
  await writeZeros("other.safetensors", { "up.weight": [8, 8] });
  const { status, stderr } = await run("build", "bigram.ts", "--random", "--out", "artifact");
  expect(stderr).not.toContain("error");
  expect(status).toBe(0);
});
afterAll(async () => {
  await bitloom?.dispose();
  await rm(folder, { recursive: true, force: true });
});

describe("build", () => {
  const built = (...args: readonly string[]) => run("build", ...args, "--out", "built");

  it("tells of tensors in the weights that no layer reads", async () => {
    const { status, stderr } = await built("plain.ts", "--weights", "extra.safetensors");
    expect(stderr).toContain(
      "warning: extra.safetensors holds 2 tensors that plain does not use: fc.bias, head\n",
    );
    expect(status).toBe(0);
  });

  it("tells that a context goes beyond the model's", async () => {
    const { stderr, status } = await built("bigram.ts", "--random", "--context", "41");
    expect(stderr).toContain("warning: --context 41 is beyond the 40 positions of bigram");
    expect(status).toBe(0);
    expect((await built("bigram.ts", "--random", "--context", "40")).stderr).not.toContain("warning");
  });

  it("tells that another head of a plain model is not compared", async () => {
    const { stdout } = await built("plain.ts", "--random", "--head", "int8");
    expect(stdout).toContain("not compared: plain is no language model\n");
  });

  it("builds and sums up a model without weights", async () => {
    const { stdout, stderr, status } = await built("bare.ts");
    expect(stderr).not.toContain("error");
    expect(status).toBe(0);
    expect(stdout).toMatch(/parameters +0\n/);
    expect(stdout + (await run("inspect", "built")).stdout).not.toMatch(/NaN|Infinity|\D0\.0 times/);
  });

  it.each([
    [
      "a name that does not exist",
      ["typo.ts", "--random"],
      /\[INVALID_MODEL\]\n.*relu9[^\n]*\n.*typo\.ts:6:\d+\n/,
    ],
    [
      "no return",
      ["nothing.ts", "--random"],
      /by name \[INVALID_MODEL\]\n.*\n.*undefined\n.*nothing\.ts:2:\d+\n.*needs a return/,
    ],
    [
      "what throws when it is imported",
      ["throws.ts", "--random"],
      /throws\.ts cannot be imported \[INVALID_MODEL\]\n.*undefinedFunction[^\n]*\n.*throws\.ts:3:1\n/,
    ],
    [
      "weights of another model",
      ["plain.ts", "--weights", "other.safetensors"],
      /"fc\.weight" \[MISSING_TENSOR\]\n.*fc\.weight.*\[8, 8\]\n.*at: other\.safetensors\n/,
    ],
    [
      "weights of another shape",
      ["plain.ts", "--weights", "wide.safetensors"],
      /\[SHAPE_MISMATCH\]\n.*\[8, 8\]\n.*\[8, 9\]\n.*at: wide\.safetensors\n/,
    ],
    ["a chunk beyond the context", ["bigram.ts", "--random", "--chunk", "41"], /--chunk is not valid[^@]*40/],
    [
      "too many threads",
      ["plain.ts", "--random", "--max-threads", "256"],
      /--max-threads is not valid[^@]*255/,
    ],
    ["no place", ["plain.ts", "--random", "--out", ""], /--out is not valid/],
  ])("refuses %s where somebody can act on it", async (_, args, message) => {
    const { stderr, status } = await run("build", "--out", "refused", ...args);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/internal error|commander|node_modules|\/dist\//);
    expect(status).toBe(1);
  });
});

it("inspect needs no weights to show a model's graph", async () => {
  const { stdout, stderr, status } = await run("inspect", "plain.ts", "--after", "trace");
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^graph @plain/);
  expect(status).toBe(0);
});

it("run prints token ids where there is no tokenizer, as --tokens takes them", async () => {
  const args = ["run", "artifact", "--tokens", "1,2,3", "--max-tokens", "4"];
  const { stdout, status } = await run(...args);
  expect(status).toBe(0);
  const { tokens } = JSON.parse((await run(...args, "--json")).stdout);
  expect(tokens).toHaveLength(4);
  expect(stdout).toBe(`${tokens.join(",")}\n`);
});

it("convert makes a checkpoint that builds, and refuses to make one of it again", async () => {
  await writeTinyLlama(join(folder, "llama"));
  const { status, stdout, stderr } = await run(
    "convert",
    "llama",
    "--out",
    "bitnet",
    "--subln",
    "every",
    "--lrc-rank",
    "25%",
  );
  expect(stderr).not.toContain("error");
  expect(status).toBe(0);
  expect(stdout).toContain("14 projections are BitLinear, 14 norms of weight one inserted");
  expect(stdout).toMatch(/\n +down_proj +2 +4 +\S+ \w+ +\d\d\.\d %\n +all +14 /);
  expect((await run("build", "bitnet", "--out", "bitnet-artifact")).status).toBe(0);
  const again = await run("convert", "bitnet", "--out", "again");
  expect(again.status).toBe(1);
  expect(again.stderr).toContain("bitnet is a BitNet checkpoint already");
  const both = await run("convert", "llama", "--out", "again", "--stage-one", "--subln", "every");
  expect(both.stderr).toContain("error: --subln is not valid");
});

describe("bench fits a context of 40 tokens", () => {
  it.each([
    [[], 20],
    [["--decode", "30"], 10],
    [["--prefill", "39"], 39],
  ])("with %j", async (args, prefill) => {
    const { stdout, stderr } = await run("bench", "artifact", "--repeat", "1", ...args);
    expect(stderr).not.toContain("error");
    expect(stdout).toContain(`prefill of ${prefill} tokens`);
  });

  it("unless what was asked for does not", async () => {
    const { stderr, status } = await run("bench", "artifact", "--prefill", "40");
    expect(stderr).toMatch(/\[CONTEXT_OVERFLOW\]\n.*40 tokens[^\n]*\n.*40 \+ 1\n/);
    expect(status).toBe(1);
  });
});
