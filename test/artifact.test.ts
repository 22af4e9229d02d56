import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type LanguageModel, loadLanguageModel } from "../runtime/index.ts";
import { Random } from "../runtime/random.ts";
import { sample, samplingSettings } from "../runtime/sampling.ts";
import { openCheckpoint } from "../src/checkpoint/huggingface.ts";
import { compileCheckpoint } from "../src/compiler/checkpoint.ts";
import { type CheckpointName, checkpoints, type GoldenPrompt, readGolden } from "./support/checkpoints.ts";
import { fakeDriver, fakeImage, missingTools, type RealCard, realCard } from "./support/cuda/fake-driver.ts";
import { openGpu } from "./support/dawn.ts";

const relativeL2 = (actual: ArrayLike<number>, expected: readonly number[]): number => {
  let difference = 0;
  let norm = 0;
  expected.forEach((value, index) => {
    difference += (actual[index]! - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
};

/** Index of the largest value, and how far it leads the second, as a share of the row's range. */
function lead(row: Float32Array): { readonly argmax: number; readonly margin: number } {
  const sorted = row.toSorted();
  const argmax = row.indexOf(sorted.at(-1)!);
  return { argmax, margin: (sorted.at(-1)! - sorted.at(-2)!) / (sorted.at(-1)! - sorted[0]!) };
}

// A software GPU takes a second for a few tokens; fibers that play CUDA's threads take longer.
const prompts = { wasm: Number.POSITIVE_INFINITY, webgpu: 3, cuda: 1 };
const answered = { wasm: Number.POSITIVE_INFINITY, webgpu: 6, cuda: 6 };
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const names = Object.keys(checkpoints) as CheckpointName[];
const targets = ["wasm", "webgpu", "cuda"] as const;

let folder: string;
let card: RealCard | undefined;
const artifact = (name: CheckpointName) => join(folder, name);

beforeAll(async () => {
  vi.stubGlobal("navigator", { gpu: await openGpu() });
  if (missingTools === undefined) card = await realCard();
  folder = await mkdtemp(join(tmpdir(), "bitloom-golden-"));
  for (const name of names) {
    const checkpoint = await openCheckpoint(checkpoints[name].folder);
    try {
      await compileCheckpoint(checkpoint, {
        out: artifact(name),
        targets,
        cudaArchitectures: card === undefined ? [] : [card.architecture],
        verify: true,
      });
    } finally {
      await checkpoint.source.close();
    }
  }
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await rm(folder, { recursive: true, force: true });
});

it.each(names)("%s needs a small download beside its weights", async (name) => {
  const bytes = gzipSync(await readFile(join(artifact(name), "kernels.threads.simd-relaxed.wasm"))).length;
  console.log(`${name}: WebAssembly, gzipped: ${(bytes / 1024).toFixed(1)} KiB`);
  // Together with the runtime, which runtime/size.test.ts measures, far below 150 kB.
  expect(bytes).toBeLessThan(40 * 1024);
});

/** Without a card, CUDA's kernels run on the processor, by way of the addon and a driver that is none. */
async function offerCard(name: CheckpointName): Promise<void> {
  const driver = await fakeDriver();
  if (card === undefined) driver.configure({ compiled: await fakeImage(artifact(name)) });
  const { environment } = card ?? driver;
  for (const [variable, value] of Object.entries(environment)) vi.stubEnv(variable, value);
}

const runnable = targets.filter((device) => device !== "cuda" || missingTools === undefined);
it.skipIf(missingTools === undefined)(`on cuda nothing is tried: ${missingTools}`, () => undefined);

describe.each(names.flatMap((name) => runnable.map((device) => [name, device] as const)))(
  "%s on %s",
  (name, device) => {
    let model: LanguageModel;
    let golden: GoldenPrompt[];

    beforeAll(async () => {
      const all = await readGolden(name);
      golden = all.slice(0, prompts[device]);
      if (device === "cuda") await offerCard(name);
      model = await loadLanguageModel(artifact(name), { device });
    });
    afterAll(async () => {
      await model?.dispose();
      vi.unstubAllEnvs();
    });

    it("runs where it was asked to", () => {
      expect(model.device.name).toBe(device);
    });

    it("encodes every prompt as PyTorch's tokenizer does", () => {
      expect(golden.map(({ prompt }) => model.tokenizer!.encode(prompt))).toEqual(
        golden.map(({ input_ids }) => input_ids),
      );
    });

    it("answers every prompt with PyTorch's greedy text", async () => {
      for (const { prompt, input_ids, greedy_ids } of golden) {
        const expected = greedy_ids.slice(input_ids.length).slice(0, answered[device]);
        const { text, tokens } = await model
          .generate(prompt, { maxTokens: expected.length, ignoreStopTokens: true })
          .finish();
        expect(tokens).toEqual(expected);
        expect(text).toBe(model.tokenizer!.decode(expected));
      }
    });

    it("samples from a few candidates what it would from all logits", async () => {
      const prompt = golden[0]!.input_ids;
      const options = { temperature: 0.8, topK: 40, topP: 0.95, seed: 7 };
      const { tokens } = await model.generate(prompt, { ...options, maxTokens: 4 }).finish();
      const random = Random.fromSeed(options.seed);
      const settings = samplingSettings(options);
      model.reset();
      let logits = await model.prefill(prompt);
      const expected = [];
      for (let i = 0; i < tokens.length; i++) {
        const token = sample(logits, [], settings, random);
        expected.push(token);
        logits = await model.decode(token);
      }
      expect(tokens).toEqual(expected);
    });

    it("is within 1e-2 of PyTorch's logits at the last position", async () => {
      const distances = [];
      for (const { input_ids, last_logits } of golden) {
        model.reset();
        distances.push(relativeL2(await model.prefill(input_ids), last_logits));
      }
      console.log(
        `${name} on ${device}: relative L2 of logits, worst ${Math.max(...distances).toExponential(1)}`,
      );
      expect(Math.max(...distances)).toBeLessThan(1e-2);
    });

    it("finds PyTorch's likeliest token at every position that is not a near tie", async () => {
      let compared = 0;
      for (const { input_ids, argmax_per_position } of golden) {
        const { logits } = await model.run({
          tokens: { data: Int32Array.from(input_ids), dims: [1, input_ids.length] },
          positions: Int32Array.of(0),
          slots: Int32Array.of(0),
        });
        const [, rows, width] = logits!.dims as [number, number, number];
        for (let row = 0; row < rows; row++) {
          const { argmax, margin } = lead(
            logits!.data.subarray(row * width, (row + 1) * width) as Float32Array,
          );
          if (margin <= 0.01) continue;
          compared += 1;
          expect(argmax).toBe(argmax_per_position[row]);
        }
      }
      expect(compared).toBeGreaterThan(golden.length);
    });
  },
);
