/** Trainings that go on from weights: all of a converted model, or a part of it. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { byteTokenizerFiles } from "../../runtime/training/index.ts";
import { checkpoints } from "../../test/support/checkpoints.ts";
import { tinyLlama, writeTinyLlama } from "../../test/support/llama-folder.ts";
import { runTraining } from "../../test/support/run-training.ts";
import { openCheckpoint } from "../checkpoint/huggingface.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { type LanguageModelConfig, languageModel } from "../dsl/families/index.ts";
import { applyAdapter, readAdapter } from "../quantize/adapter.ts";
import { convertCheckpoint } from "../quantize/convert-checkpoint.ts";
import { onlyCorrections } from "../quantize/trainable.ts";
import { constantRate, defineTraining, lambdaWarmup, type TrainingOptions } from "./index.ts";
import { openStart } from "./start.ts";
import { readTensors } from "./tensor-file.ts";

const llama = { ...tinyLlama, vocabularySize: 256, layers: 1 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-start-test-"));
  await writeFile(join(folder, "text.txt"), "to be or not to be, ".repeat(60));
  await writeTinyLlama(join(folder, "llama"), llama);
  await writeTinyLlama(join(folder, "plain"), llama);
  for (const [name, text] of Object.entries(byteTokenizerFiles())) {
    await writeFile(join(folder, "llama", name), text);
  }
  await convertCheckpoint(join(folder, "llama"), { out: join(folder, "bitnet") });
  const corrections = { rankPercentage: 25, init: "zeros" } as const;
  await convertCheckpoint(join(folder, "bitnet"), { out: join(folder, "corrected"), corrections });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const of = (changed: Partial<TrainingOptions> = {}) =>
  defineTraining({
    weights: "bitnet",
    text: ["text.txt"],
    steps: 6,
    batch: 4,
    sequence: 16,
    heldOut: 0.1,
    evaluateEvery: 6,
    learningRate: constantRate(0.01),
    ...changed,
  });

const run = (training: ReturnType<typeof of>, out: string, how: { until?: number; resume?: boolean } = {}) =>
  runTraining(training, { out: join(folder, out), base: folder, ...how });

async function parametersOf(name: string): Promise<ReadonlyMap<string, Float32Array>> {
  const { source } = await openCheckpoint(join(folder, name));
  try {
    const read = [...source.paths()].map(async (path) => [path, await readFloats(source, path)] as const);
    return new Map(await Promise.all(read));
  } finally {
    await source.close();
  }
}

describe("from the folder of a converted model", () => {
  test("the loss falls, and the result is a folder of the same model that goes on", async () => {
    const { losses, model } = await run(of(), "whole");
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
    const config = async (path: string) => JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    expect(await config(model)).toEqual({
      ...(await config(join(folder, "bitnet"))),
      torch_dtype: "float32",
    });
    const further = await run(of({ weights: "whole/model", steps: 1 }), "further");
    expect(further.losses[0]).toBeLessThan(losses[0]! - 0.5);
  }, 60_000);

  test("corrections alone learn, in parts as at once; what is frozen keeps its bits", async () => {
    const changed: Partial<TrainingOptions> = {
      weights: "corrected",
      trainable: onlyCorrections,
      learningRate: constantRate(0.03),
      steps: 4,
      accumulation: 2,
    };
    const training = of(changed);
    const { losses, trained, adapter } = await run(training, "frozen");
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.1);
    await expect(run(training, "parts", { until: 2 })).rejects.toMatchObject({ code: "ABORTED" });
    expect((await run(training, "parts", { resume: true })).losses).toEqual(losses);

    const [before, after] = [await parametersOf("corrected"), await parametersOf("frozen/model")];
    expect(await parametersOf("parts/model")).toEqual(after);
    const corrections = [...before.keys()].filter((path) => path.includes(".lrc_"));
    expect(corrections).toHaveLength(14);
    expect(trained).toBe(corrections.reduce((sum, path) => sum + before.get(path)!.length, 0));
    for (const [path, values] of before) {
      if (corrections.includes(path)) expect(after.get(path), path).not.toEqual(values);
      else expect(after.get(path), path).toEqual(values);
    }
    // Of the optimizer's states there are those of the corrections alone.
    const { tensors } = await readTensors(join(folder, "frozen", "checkpoint.safetensors"));
    expect(tensors.size).toBe(2 + 3 * corrections.length);

    // The adapter makes the converted model the corrected one.
    const { config, source } = await openCheckpoint(join(folder, "bitnet"));
    const applied = applyAdapter(languageModel(config), source, await readAdapter(adapter!));
    for (const { path } of applied.model.parameters()) {
      expect(await readFloats(applied.weights, path), path).toEqual(after.get(path));
    }
    await source.close();
    const other = of({ ...changed, weights: "frozen/model" });
    await expect(run(other, "parts", { resume: true })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }, 60_000);
});

describe("weights that cannot be trained are refused before anything is written", () => {
  const config: LanguageModelConfig = { ...llama, architecture: "BitNetForCausalLM", quantized: true };
  test.each<[string, string, Partial<TrainingOptions>]>([
    ["no such folder", "MISSING_FILE", { weights: "nowhere" }],
    ["another shape", "SHAPE_MISMATCH", { model: languageModel({ ...config, intermediateSize: 32 }) }],
    ["a missing tensor", "MISSING_TENSOR", { model: languageModel({ ...config, layers: 2 }) }],
    ["another tokenizer", "INVALID_OPTION", { tokenizer: { vocabulary: 300 } }],
    ["a sequence beyond the context", "INVALID_OPTION", { sequence: 33 }],
    ["nothing to train", "INVALID_OPTION", { trainable: () => false }],
  ])("%s", async (_, code, changed) => {
    await expect(run(of(changed), "refused")).rejects.toMatchObject({ code });
    await expect(readFile(join(folder, "refused"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a path there is not, with the nearest", async () => {
    const misspelt = of({ trainable: ["model.norm.weight", "model.norms.weight"] });
    await expect(openStart(misspelt, folder)).rejects.toMatchObject({
      code: "INVALID_OPTION",
      received: '"model.norms.weight"',
      hint: "Did you mean model.norm.weight?",
    });
  });

  const others: readonly [string, Partial<LanguageModelConfig>][] = [
    ["ropeTheta", { ropeTheta: 500_000 }],
    ["quantized of model.layers.0.mlp.up_proj", { quantized: (path) => !path.endsWith("up_proj") }],
    ["eosTokens", { eosTokens: [] }],
  ];
  test("a model that config.json beside them says otherwise", async () => {
    const equal = await openStart(of({ model: config }), folder);
    await equal.weights.close();
    expect(equal.config).toMatchObject({ rope_theta: 10_000 });
    for (const [field, changed] of others) {
      await expect(openStart(of({ model: { ...config, ...changed } }), folder), field).rejects.toMatchObject({
        code: "INVALID_OPTION",
        message: expect.stringMatching(/`model`.+`weights`/),
        expected: expect.stringContaining(`${field} to be `),
      });
    }
  });

  test("a warm-up beyond the run, and a teacher of unknown tokens, are told of", async () => {
    const quantization = { lambda: lambdaWarmup({ steps: 12 }) };
    const { weights, warnings } = await openStart(
      of({ quantization, distill: { teacher: "plain" } }),
      folder,
    );
    await weights.close();
    expect(warnings).toEqual([
      { code: "UNFINISHED_WARMUP", message: expect.stringMatching(/step, 6, lambda is 0\.417/) },
      { code: "UNKNOWN_VOCABULARY", message: expect.stringContaining("plain") },
    ]);
  });

  test("packed ones, with the hint to take latent ones", async () => {
    const { folder: packed } = checkpoints["bitnet-tiny-packed"];
    await expect(run(of({ weights: packed }), "refused")).rejects.toMatchObject({
      code: "INVALID_TENSOR",
      hint: expect.stringContaining("before quantization"),
    });
  });

  test("neither a model nor weights", () => {
    expect(() => of({ weights: undefined as never })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining("model") }),
    );
  });
});
