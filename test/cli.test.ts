import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseGraph } from "../ir/text/parse.ts";
import { printGraph } from "../ir/text/print.ts";
import { Tokenizer } from "../runtime/index.ts";
import { stages } from "../src/compiler/lower.ts";
import { checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";
import { type InstalledPackage, installPackage, type ProcessResult } from "./support/cli.ts";

const checkpoint = checkpoints["bitnet-tiny-packed"].folder;

let bitloom: InstalledPackage;
/** The working folder of every command, which holds these files and the artifact. */
let folder: string;
let built: ProcessResult;
let golden: GoldenPrompt;

const mlp = `import { bitLinear, defineModel, f32, linear, relu2, rmsNorm } from "bitloom";

interface Erased {}

export default defineModel({
  name: "mlp",
  inputs: { x: f32("batch", 20) },
  layers: { up: bitLinear(20, 12), norm: rmsNorm(12), down: linear(12, 3, { bias: true }) },
  forward: ({ x }, { up, norm, down }) => ({ logits: down(norm(relu2(up(x)))) }),
});
`;
const files: Readonly<Record<string, string>> = {
  "mlp.ts": mlp,
  "wrong.ts": mlp.replace("linear(12, 3", "linear(13, 3"),
  "named.ts": mlp.replace("export default", "export const model ="),
  "number.ts": "export default 5;\n",
  "syntax.ts": "export default {\n",
  "throws.ts": 'throw new Error("boom");\n',
};

const bitloomRun = (...args: readonly string[]) => bitloom.run(args, { cwd: folder });

/** What a command that must succeed printed. */
async function output(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await bitloomRun(...args);
  expect(stderr, args.join(" ")).not.toMatch(/error/);
  expect(status).toBe(0);
  return stdout;
}

/** A terminal would be steered by these; a pipe must get none. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-cli-"));
  bitloom = await installPackage();
  golden = (await readGolden("bitnet-tiny-packed"))[0]!;
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  built = await bitloomRun("build", checkpoint, "--out", "artifact", "--verify");
});
afterAll(async () => {
  await bitloom?.dispose();
  await rm(folder, { recursive: true, force: true });
});

const generated = () => golden.greedy_ids.slice(golden.input_ids.length);
const generatedText = () => golden.greedy_text.replace(`<|begin_of_text|>${golden.prompt}`, "");
const most = () => String(generated().length);

describe("build", () => {
  it("makes an artifact and says what became of the model, plainly where it is piped", async () => {
    expect(built.status).toBe(0);
    expect(built.stdout).toMatch(/^\/.*artifact\n/);
    expect(built.stdout).toMatch(/parameters +3,430,336\n/);
    expect(built.stdout).toMatch(/decode +\d+ ops described +\d+ lowered +\d+ fused +\d+ steps\n/);
    expect(built.stderr).toBe("compiling the graph\npacking weights\n");
    expect(built.stdout).not.toMatch(control);
    expect((await readdir(folder)).sort()).toEqual(["artifact", ...Object.keys(files)].sort());
  });

  it("reports how another head changes the logits, and leaves one artifact", async () => {
    const parent = await mkdtemp(join(folder, "head-"));
    const report = await output("build", checkpoint, "--out", join(parent, "int8"), "--head", "int8");
    const [, distance, same, positions] =
      /logits with --head int8: relative L2 (\S+), same most likely token at (\d+) of (\d+) positions/.exec(
        report,
      )!;
    expect(Number(distance)).toBeGreaterThan(0);
    expect(Number(distance)).toBeLessThan(0.05);
    expect(Number(same)).toBeGreaterThan(0.8 * Number(positions));
    expect(await readdir(parent)).toEqual(["int8"]);
    await rm(parent, { recursive: true });
  });

  it("takes a model's weights from a folder, as a checkpoint keeps them", async () => {
    const parent = await mkdtemp(join(folder, "folder-"));
    await writeFile(
      join(parent, "norm.ts"),
      `import { defineModel, f32, rmsNorm } from "bitloom";
export default defineModel({
  name: "last",
  inputs: { x: f32("batch", 256) },
  layers: { model: { norm: rmsNorm(256) } },
  forward: ({ x }, { model }) => ({ y: model.norm(x) }),
});`,
    );
    const report = await output(
      "build",
      join(parent, "norm.ts"),
      "--weights",
      checkpoint,
      "--out",
      join(parent, "out"),
    );
    expect(report).toMatch(/parameters +256\n/);
    await rm(parent, { recursive: true });
  });
});

describe("run", () => {
  const json = async (...args: readonly string[]) => {
    const text = await output("run", "artifact", "--json", ...args);
    expect(text).toMatch(/^\{.*\}\n$/);
    return JSON.parse(text);
  };

  it("streams PyTorch's greedy text, and nothing but it, to a pipe", async () => {
    const result = await bitloomRun("run", "artifact", "--prompt", golden.prompt, "--max-tokens", most());
    expect(result).toEqual({ status: 0, stdout: `${generatedText()}\n`, stderr: "loading\n" });
  });

  it("takes the prompt from stdin, without the line break a shell ends it with", async () => {
    const args = ["run", "artifact", "--max-tokens", most()];
    for (const input of [golden.prompt, `${golden.prompt}\n`]) {
      const { stdout } = await bitloom.run(args, { cwd: folder, input });
      expect(stdout).toBe(`${generatedText()}\n`);
    }
  });

  it("prints one object with --json", async () => {
    const result = await json("--prompt", golden.prompt, "--max-tokens", most());
    expect(Object.keys(result)).toEqual(["text", "tokens", "promptTokens", "timings"]);
    expect(result.text).toBe(generatedText());
    expect(result.tokens).toEqual(generated());
    expect(result.promptTokens).toEqual(golden.input_ids);
    expect(Object.keys(result.timings)).toEqual(["loadMs", "prefillMs", "decodeMs", "tokensPerSecond"]);
    for (const time of Object.values(result.timings)) expect(time).toBeGreaterThan(0);
  });

  it("adds the logits of the last prompt position, and takes token ids", async () => {
    const result = await json("--tokens", golden.input_ids.join(","), "--logits", "--max-tokens", "3");
    expect(Object.keys(result)).toEqual(["text", "tokens", "promptTokens", "timings", "logits"]);
    expect(result.promptTokens).toEqual(golden.input_ids);
    expect(result.tokens).toEqual(generated().slice(0, 3));
    expect(result.logits).toHaveLength(golden.last_logits.length);
    const worst = golden.last_logits.map((logit, index) => Math.abs(logit - result.logits[index]));
    expect(Math.max(...worst)).toBeLessThan(0.1);
  });

  it("renders the prompt as a turn with --chat", async () => {
    const tokenizer = await Tokenizer.fromFiles((name) =>
      readFile(join(checkpoint, name), "utf8").catch(() => undefined),
    );
    const { promptTokens } = await json("--chat", "--prompt", "What is a string?", "--max-tokens", "1");
    expect(tokenizer!.decode(promptTokens, false)).toBe(
      "<|begin_of_text|>User: What is a string?<|eot_id|>Assistant: ",
    );
  });

  it("draws the same answer from the same seed", async () => {
    const draw = async (seed: string, ...more: readonly string[]) =>
      (await json("--prompt", "def", "--temperature", "1.2", "--max-tokens", "24", "--seed", seed, ...more))
        .tokens;
    const first = await draw("7");
    expect(await draw("7", "--threads", "1")).toEqual(first);
    expect(await draw("8")).not.toEqual(first);
  });
});

describe("inspect", () => {
  /** Names of the artifact's kernels. */
  const kernels = async () =>
    (await readdir(join(folder, "artifact/kernels")))
      .filter((file) => !file.includes(".simd-relaxed"))
      .map((file) => file.replace(".wat", ""));

  it.concurrent.each(stages)("prints the graph after %s as text that parses back", async (stage) => {
    const text = await output("inspect", checkpoint, "--after", stage, "--verify");
    expect(text).toMatch(/^graph @/);
    expect(printGraph(parseGraph(text)).trimEnd()).toBe(text.trimEnd());
  });

  it("prints each entry, the plan and a kernel of a model", async () => {
    const prefill = await output("inspect", checkpoint, "--entry", "prefill");
    expect(prefill).toMatch(/slice\(/);
    expect(prefill).toMatch(/ops after +run +prefill +decode\n/);
    expect(await output("inspect", "mlp.ts", "--random", "--plan")).toContain("ternary_matmul");
    const [name] = (await kernels()) as [string];
    expect(await output("inspect", checkpoint, "--kernel", name)).toMatch(/^\(module/);
  });

  it("prints the steps of a decoded token on a target, those of a layer once", async () => {
    const args = ["inspect", checkpoint, "--target", "webgpu"];
    const plan = await output(...args, "--plan", "--entry", "decode");
    expect(plan).toMatch(/^decode\([^)]*\): \d+ steps\n {2}moves weights/m);
    expect(plan).toMatch(/^ {2}[2-9] times 9 steps, each time weights .*:\n {4}quantize %model\.layers\.\*/m);
    expect(plan).not.toMatch(/^(?:run|prefill)\(/m);
    const name = /(\w+) +templates\/gpu\/attention-decode\.ts/.exec(plan)![1]!;
    expect(await output(...args, "--kernel", name)).toContain("@compute");
  });

  it("sums up an artifact, and prints its steps and kernels", async () => {
    const summary = await output("inspect", "artifact");
    expect(summary).not.toMatch(control);
    expect(summary).toMatch(/values, with tables +3,4\d\d,\d{3}\n/);
    expect(summary).toMatch(/\d+\.\d% of them zero\n/);
    expect(summary).toMatch(/\d\.\d times smaller than f32\n/);
    for (const part of ["weights", "entries", "memory", "kernels", "files"]) {
      expect(summary).toContain(`\n${part}\n`);
    }
    const plan = await output("inspect", "artifact", "--plan", "--entry", "decode");
    expect(plan).toMatch(/^decode: \d+ steps\n/);
    for (const name of (await kernels()).slice(0, 2)) {
      const text = await readFile(join(folder, `artifact/kernels/${name}.wat`), "utf8");
      expect(await output("inspect", "artifact", "--kernel", name)).toBe(`${text.trimEnd()}\n`);
    }
  });
});

it("bench measures, for people and for programs", async () => {
  const args = ["bench", "artifact", "--prefill", "8", "--decode", "4", "--repeat", "1"];
  expect(await output(...args)).toMatch(/decode +\d+\.\d tokens\/s\n/);
  const report = JSON.parse(await output(...args, "--json"));
  const measured = ["loadMs", "prefillTokensPerSecond", "decodeTokensPerSecond", "weightBytesPerSecond"];
  for (const key of measured) expect(report[key], key).toBeGreaterThan(0);
  expect(report.device).toMatch(/^WebAssembly, /);
});

it("doctor tells what this machine can run", async () => {
  expect(await output("doctor")).toMatch(/ {2}yes {2}WebAssembly with SIMD: Node \d+/);
  const { version, findings } = JSON.parse(await output("doctor", "--json"));
  expect(`${version}\n`).toBe(await output("--version"));
  for (const finding of findings) {
    expect(finding).toMatchObject({ name: expect.any(String), ok: expect.any(Boolean) });
  }
});

describe("refuses with one coded message, an exit status of 1, a clean stdout and a clean disk", () => {
  const out = ["--out", "refused"];
  const random = ["--random", ...out];
  const prompt = ["--prompt", "x"];
  it.concurrent.each<[string, readonly string[], RegExp]>([
    ["a model that is not there", ["build", "no.ts", ...out], /There is no no\.ts \[MISSING_FILE\]/],
    ["nothing to build", ["build", ...out], /Nothing was named.*\[INVALID_OPTION\]/],
    ["nowhere to put it", ["build", "mlp.ts"], /--out/],
    [
      "a model without a default export",
      ["build", "named.ts", ...random],
      /named\.ts does not export a model \[INVALID_MODEL\]\n.*export default.*\n.*exports named model\n/,
    ],
    ["an export that is no model", ["build", "number.ts", ...random], /number\.ts.*\[INVALID_MODEL\]/],
    ["a model with a syntax error", ["build", "syntax.ts", ...random], /syntax\.ts[\s\S]*syntax\.ts:2/],
    ["a model that throws", ["build", "throws.ts", ...random], /throws\.ts.*\[INVALID_MODEL\]\n.*boom\n/],
    [
      "layers that do not fit, by line",
      ["build", "wrong.ts", ...random],
      /\[SHAPE_MISMATCH\]\n.*f32\[\.\.\., 13\]\n.*f32\[batch, 12\]\n.*wrong\.ts:9:54\n/,
    ],
    [
      "layers that do not fit, when inspected",
      ["inspect", "wrong.ts", "--random"],
      /\[SHAPE_MISMATCH\][\s\S]*wrong\.ts:9:54\n/,
    ],
    ["a model without weights", ["build", "mlp.ts", ...out], /mlp\.ts.*\[MISSING_FILE\]\n.*--weights/],
    [
      "weights that are not there",
      ["build", "mlp.ts", "--weights", "no.safetensors", ...out],
      /no\.safetensors.*\[MISSING_FILE\]/,
    ],
    [
      "weights of another model",
      ["build", "mlp.ts", "--weights", checkpoint, ...out],
      /"up\.weight" \[MISSING_TENSOR\]/,
    ],
    [
      "random weights for a checkpoint",
      ["build", checkpoint, ...random],
      /brings its own weights \[INVALID_OPTION\]/,
    ],
    [
      "a random model nobody knows",
      ["build", "--random", "gpt-5", ...out],
      /\[INVALID_OPTION\]\n.*bitnet-b1\.58-2B-4T\n.*gpt-5/,
    ],
    [
      "a context for a model without",
      ["build", "mlp.ts", "--context", "5", ...random],
      /no context \[INVALID_OPTION\]/,
    ],
    [
      "a chunk beyond the context",
      ["build", checkpoint, "--chunk", "513", ...out],
      /chunk.*\[INVALID_OPTION\]\n.*512/,
    ],
    ["an unknown head", ["build", checkpoint, "--head", "int3", ...out], /int3.*f32, bf16, f16, int8/],
    [
      "an unknown target",
      ["build", checkpoint, "--target", "tpu", ...out],
      /--target is not valid[\s\S]*wasm, webgpu[\s\S]*tpu/,
    ],
    ["half a thread", ["build", checkpoint, "--max-threads", "0.5", ...out], /'0\.5'.*whole number/],
    [
      "too many threads",
      ["build", checkpoint, "--max-threads", "256", ...out],
      /--max-threads[\s\S]*1 to 255/,
    ],
    [
      "a folder with other files",
      ["build", "mlp.ts", "--random", "--out", "."],
      /holds files that are not a Bitloom artifact \[WRITE_FAILED\]\n.*\n.*mlp\.ts/,
    ],
    [
      "a place below a file",
      ["build", "mlp.ts", "--random", "--out", "mlp.ts/out"],
      /mlp\.ts\/out.*\[WRITE_FAILED\]/,
    ],
    ["an artifact that is none", ["run", checkpoint, ...prompt], /no manifest\.json \[MISSING_FILE\]/],
    ["no prompt at all", ["run", "artifact"], /no prompt \[INVALID_OPTION\]\n.*--prompt/],
    [
      "two prompts",
      ["run", "artifact", "--tokens", "1", ...prompt],
      /--tokens stands alone \[INVALID_OPTION\]/,
    ],
    [
      "a token beyond the vocabulary",
      ["run", "artifact", "--tokens", "5,2048"],
      /\[TOKEN_OUT_OF_RANGE\]\n.*0 to 2047\n.*2048 at index 1\n/,
    ],
    ["a token that is none", ["run", "artifact", "--tokens", "1,,2"], /--tokens.*whole number/],
    ["no token", ["run", "artifact", "--tokens", ""], /--tokens.*whole number/],
    [
      "a prompt beyond the context",
      ["run", "artifact", "--prompt", "word ".repeat(600)],
      /\[CONTEXT_OVERFLOW\]\n.*512 tokens\n/,
    ],
    ["a temperature below 0", ["run", "artifact", ...prompt, "--temperature", "-1"], /--temperature.*'-1'/],
    ["a mass above 1", ["run", "artifact", ...prompt, "--top-p", "2"], /--top-p.*in 0\.\.1/],
    ["an unknown device", ["run", "artifact", ...prompt, "--device", "tpu"], /tpu.*auto, cuda, webgpu, wasm/],
    [
      "logits as text",
      ["run", "artifact", ...prompt, "--logits"],
      /--logits needs --json \[INVALID_OPTION\]/,
    ],
    [
      "an unknown stage",
      ["inspect", checkpoint, "--after", "lunch"],
      /"lunch" \[INVALID_OPTION\]\n.*trace, bind, .*lower/,
    ],
    [
      "an unknown entry",
      ["inspect", checkpoint, "--entry", "exit"],
      /"exit" \[INVALID_OPTION\]\n.*run, prefill, decode/,
    ],
    [
      "an unknown entry of an artifact",
      ["inspect", "artifact", "--entry", "exit"],
      /"exit" \[INVALID_OPTION\]\n.*run, prefill, decode/,
    ],
    [
      "an unknown target of a model",
      ["inspect", checkpoint, "--target", "abacus"],
      /"abacus" \[INVALID_OPTION\]\n.*wasm, webgpu/,
    ],
    [
      "a target an artifact was not built for",
      ["inspect", "artifact", "--target", "webgpu"],
      /"webgpu" \[INVALID_OPTION\]\n.*expected: wasm\n/,
    ],
    ["an unknown kernel", ["inspect", "artifact", "--kernel", "pop"], /"pop" \[INVALID_OPTION\]\n.*rope/],
    ["a graph of an artifact", ["inspect", "artifact", "--after", "bind"], /no graph \[INVALID_OPTION\]/],
    [
      "a benchmark beyond the context",
      ["bench", "artifact", "--prefill", "500", "--decode", "13"],
      /\[CONTEXT_OVERFLOW\]\n.*512 tokens/,
    ],
    ["an unknown command", ["fly"], /Unknown command 'fly' \[INVALID_OPTION\]\n.*bitloom --help/],
    [
      "an unknown option, with the one it was meant to be",
      ["run", "artifact", "--max-tokenz", "3"],
      /Unknown option '--max-tokenz' \[INVALID_OPTION\]\n.*Did you mean --max-tokens\? bitloom run --help/,
    ],
    [
      "an option that is missing",
      ["build", checkpoint],
      /Required option '--out <folder>' not.*\[INVALID_OPTION\]/,
    ],
    [
      "an option's value",
      ["run", "artifact", "--top-k", "none"],
      /'--top-k <count>' argument 'none' is invalid.*whole number.*\[INVALID_OPTION\]\n.*bitloom run --help/,
    ],
    [
      "architectures without their target",
      ["build", checkpoint, "--out", "x", "--arch", "sm_90"],
      /--arch is not valid \[INVALID_OPTION\]\n.*the target cuda/,
    ],
  ])("%s", async (_, args, message) => {
    const { status, stdout, stderr } = await bitloomRun(...args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^(?:warning: .*\n)?(?:compiling the graph\n|loading\n)?error: /);
    expect(stderr).not.toMatch(/internal error|\n {4}at /);
    expect(stderr).not.toMatch(control);
    expect(status).toBe(1);
    expect(stdout).toBe("");
  });

  it("leaves the folder as it was", async () => {
    expect((await readdir(folder)).sort()).toEqual(["artifact", ...Object.keys(files)].sort());
  });
});
