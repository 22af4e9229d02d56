import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { randomParameter, randomSource } from "../../src/checkpoint/random.ts";
import {
  type AnyModel,
  bitLinear,
  compile,
  defineLanguageModel,
  defineModel,
  embedding,
  f32,
  linear,
} from "../../src/index.ts";
import { checkpoints } from "../support/checkpoints.ts";
import { finished, type InstalledPackage, installPackage } from "../support/cli.ts";

const checkpoint = checkpoints["bitnet-tiny-packed"].folder;
const isPosix = process.platform !== "win32";

let bitloom: InstalledPackage;
let parent: string;
/** Where the commands run; empty before each test. */
let cwd: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "bitloom-process-"));
  bitloom = await installPackage();
  cwd = join(parent, "work");
});
beforeEach(async () => {
  await rm(cwd, { recursive: true, force: true });
  await mkdir(cwd);
});
afterAll(async () => {
  await bitloom?.dispose();
  await rm(parent, { recursive: true, force: true });
});

async function buildRandom(model: AnyModel): Promise<string> {
  const out = join(parent, model.name);
  const weights = randomSource(model.parameters().map(randomParameter), 0);
  await compile(model, { out, weights });
  return out;
}

/** 3.2 GB of inputs and outputs, and a few bytes of weights. */
const vast = defineModel({
  name: "vast",
  inputs: { x: f32("batch", 8) },
  symbols: { batch: { max: 50_000_000 } },
  layers: { fc: linear(8, 8) },
  forward: ({ x }, { fc }) => ({ y: fc(x) }),
});

/** A context that takes minutes to fill. */
const endless = defineLanguageModel({
  name: "endless",
  vocabularySize: 256,
  contextLength: 1_000_000,
  layers: { embed: embedding(256, 1024), up: bitLinear(1024, 8192), down: bitLinear(8192, 1024) },
  forward: (tokens, { embed, up, down }) => embed.head(down(up(embed(tokens)))),
});

/** 800 million weights, which take seconds to pack. */
const slow = `import { bitLinear, defineModel, f32 } from "bitloom";
const layers = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [\`l\${i}\`, bitLinear(8192, 8192)]));
export default defineModel({
  name: "slow",
  inputs: { x: f32("batch", 8192) },
  layers,
  forward: ({ x }, layers) => ({ y: Object.values(layers).reduce((x, layer) => layer(x), x) }),
});`;

it.runIf(isPosix).each([
  ["compiling the graph", "SIGTERM", 143],
  ["packing weights", "SIGINT", 130],
  ["packing weights", "SIGTERM", 143],
] as const)("a build that is interrupted while %s (%s) leaves nothing", async (stage, signal, status) => {
  const model = join(parent, "slow.ts");
  await writeFile(model, slow);
  const child = bitloom.start(["build", model, "--random", "--out", "on/the/way"], { cwd });
  const ended = finished(child);
  for (let seen = ""; !seen.includes(stage); ) seen += (await once(child.stderr!, "data"))[0];
  child.kill(signal);
  const result = await ended;
  expect(result).toMatchObject({ status, stdout: "" });
  expect(result.stderr).toMatch(/^compiling the graph\n(?:packing weights\n)?$/);
  expect(await readdir(cwd)).toEqual([]);
});

it.runIf(isPosix)("generation that is interrupted ends at once, and as a shell expects it", async () => {
  const artifact = await buildRandom(endless);
  const child = bitloom.start(["run", artifact, "--tokens", "1", "--max-tokens", "999999"]);
  const ended = finished(child);
  await once(child.stderr!, "data");
  await setTimeout(500);
  child.kill("SIGINT");
  const { status, stderr } = await ended;
  expect({ status, stderr }).toEqual({ status: 130, stderr: "loading\n" });
});

it.runIf(isPosix)("a reader that leaves early ends the command quietly", async () => {
  await bitloom.run(["build", checkpoint, "--out", "artifact"], { cwd });
  const running = bitloom.start(["run", "artifact", "--prompt", "def"], { cwd });
  running.stdout!.destroy();
  const [[status]] = await Promise.all([once(running, "close"), running.stderr!.resume()]);
  expect(status).toBe(141);

  // Nobody who reads the progress is no reason to end.
  const building = bitloom.start(["build", checkpoint, "--out", "second"], { cwd });
  building.stderr!.destroy();
  building.stdout!.resume();
  expect((await once(building, "close"))[0]).toBe(0);
  expect((await readdir(cwd)).sort()).toEqual(["artifact", "second"]);
});

it.runIf(isPosix)("a disk that is full is named, and left as it was", async () => {
  const args = ["build", checkpoint, "--out", "artifact"];
  const { status, stderr } = await bitloom.run(args, { cwd, ulimit: "-f 2000" });
  expect(stderr).toMatch(/cannot write weights\.safetensors \[WRITE_FAILED\]\n.*EFBIG/);
  expect(status).toBe(1);
  expect(await readdir(cwd)).toEqual([]);
});

it.runIf(process.platform === "linux")(
  "a model without enough memory is refused, and the process lives",
  async () => {
    const [large, little] = await Promise.all([
      buildRandom(vast),
      buildRandom({ ...vast, name: "little", trace: () => vast.trace({ symbols: { batch: { max: 2 } } }) }),
    ]);
    const module = `
    import { load } from "bitloom/runtime";
    for (const threads of [1, 2]) {
      await load(${JSON.stringify(large)}, { threads }).then(
        () => console.log("loaded"),
        ({ code, expected }) => console.log(code, expected),
      );
    }
    const model = await load(${JSON.stringify(little)}, { threads: 1 });
    const { y } = await model.run({ x: new Float32Array(16) });
    console.log(y.dims.join());`;
    const limits = { ulimit: "-v 3000000", node: ["--disable-wasm-trap-handler"] };
    const { stdout, stderr } = await bitloom.runModule(module, limits);
    expect(stderr).toBe("");
    expect(stdout).toMatch(
      /^OUT_OF_MEMORY 32\d{8} bytes of WebAssembly memory\nOUT_OF_MEMORY 32\d{8} bytes of shared WebAssembly memory\n2,8\n$/,
    );
  },
);

it.runIf(process.platform === "linux")("a build without enough memory leaves nothing", async () => {
  const args = ["build", checkpoint, "--out", "artifact"];
  // Less than the address space that an engine sets aside for two memories.
  const { status, stderr } = await bitloom.run(args, { cwd, ulimit: "-v 12000000" });
  expect(stderr).toMatch(/error: .*\[OUT_OF_MEMORY\]\n/);
  expect(status).toBe(1);
  expect(await readdir(cwd)).toEqual([]);
});
