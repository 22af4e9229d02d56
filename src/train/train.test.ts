import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { loadLanguageModel } from "../../runtime/index.ts";
import { Tokenizer } from "../../runtime/tokenizer.ts";
import { byteTokenizerFiles, Windows } from "../../runtime/training/index.ts";
import { alphabetConfig } from "../../test/support/alphabet-model.ts";
import { runTraining } from "../../test/support/run-training.ts";
import { openCheckpoint } from "../checkpoint/huggingface.ts";
import { compileCheckpoint } from "../compiler/checkpoint.ts";
import type { LanguageModelConfig } from "../dsl/families/config.ts";
import { languageModel } from "../dsl/families/index.ts";
import { learnBytePairs } from "./byte-pairs.ts";
import {
  adamW,
  type DecayShare,
  defineTraining,
  getCurrentLambda,
  type LearningRate,
  lambdaWarmup,
  linearRate,
  progressiveLayers,
  sgd,
  type TrainingOptions,
  type TrainingText,
  type TrainOptions,
  train,
  twoStageDecay,
  twoStageRate,
} from "./index.ts";

const config: LanguageModelConfig = { ...alphabetConfig, name: "tiny" };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-train-test-"));
  await writeFile(join(folder, "abc.txt"), "abcdefgh".repeat(200));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options: TrainingOptions = {
  model: config,
  text: ["abc.txt"],
  steps: 40,
  batch: 4,
  sequence: 16,
  heldOut: 0.1,
  learningRate: linearRate(0.02, { warmup: 2 }),
  seed: 7,
};
const of = (changed: Partial<TrainingOptions> = {}) => defineTraining({ ...options, ...changed });
const bytes = (name: string, file = "model/model.safetensors") => readFile(join(folder, name, file));

test("what is trained is saved, compiled, and continues its text", async () => {
  const out = join(folder, "whole");
  const steps: number[] = [];
  // One layer is an ordinary linear: in training, in the saved model, and in what is compiled of it.
  const training = of({ quantization: { off: (path) => path.endsWith("o_proj") } });
  const report = await train(training, {
    out,
    base: folder,
    threads: 1,
    onStep: ({ step }) => steps.push(step),
  });
  expect(steps).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(report.losses[0]).toBeGreaterThan(4);
  expect(report.evaluations.map(({ step }) => step)).toEqual(Array.from({ length: 11 }, (_, i) => 4 * i));
  // Near that of guessing among 256 bytes.
  expect(report.evaluations[0]!.loss).toBeCloseTo(Math.log(256), 0);
  expect(report.evaluations.at(-1)!.loss).toBeLessThan(0.5);
  expect((await bytes("whole", "loss.svg")).toString()).toContain("<polyline");

  const checkpoint = await openCheckpoint(report.model);
  expect((checkpoint.config.quantized as (path: string) => boolean)("model.layers.0.self_attn.o_proj")).toBe(
    false,
  );
  await compileCheckpoint(checkpoint, { out: join(folder, "artifact") });
  await checkpoint.source.close();
  await using model = await loadLanguageModel(join(folder, "artifact"), { threads: 1 });
  const { text } = await model.generate("abcdefghabcdefgh", { maxTokens: 8 }).finish();
  expect(text).toBe("abcdefgh");
  await expect(train(of(), { out, base: folder })).rejects.toMatchObject({ code: "WRITE_FAILED" });
}, 60_000);

test("a run that is interrupted, even twice, ends with the weights of one that is not", async () => {
  const changed: Partial<TrainingOptions> = {
    steps: 7,
    accumulation: 2,
    evaluateEvery: 3,
    quantization: {
      lambda: lambdaWarmup({ steps: 4, shape: "cosine" }),
      layers: { "model.layers.0.self_attn": progressiveLayers({ steps: 5 }) },
      ste: "soft",
      noise: "gaussian",
    },
  };
  const lambdas: number[] = [];
  // The same text, be it a file's or a program's.
  const content = "abcdefgh".repeat(200);
  const run = (out: string, until: number, resume = false) =>
    runTraining(of(resume ? { ...changed, text: [{ content }] } : changed), {
      out: join(folder, out),
      base: folder,
      resume,
      until,
      onStep: ({ lambda }) => {
        if (out === "at-once") lambdas.push(lambda);
        expect(getCurrentLambda()).toBe(lambda);
      },
    });
  const { losses, evaluations } = await run("at-once", 99);
  // Four layers one after the other, and three together.
  const sums = [0, 1 + 0.439, 2 + 1.5, 4 + 2.561, 7, 7, 7];
  expect(lambdas).toEqual(sums.map((sum) => expect.closeTo(sum / 7, 3)));
  expect(lambdas[4]).toBe(1);
  await expect(run("in-parts", 2)).rejects.toMatchObject({ code: "ABORTED" });
  await expect(run("in-parts", 5, true)).rejects.toMatchObject({ code: "ABORTED" });
  expect(await stat(join(folder, "in-parts", "model")).catch(() => undefined)).toBeUndefined();
  const resumed = await run("in-parts", 99, true);
  expect(resumed).toMatchObject({ losses, evaluations });
  for (const file of ["model/model.safetensors", "checkpoint.safetensors", "loss.svg"]) {
    expect(await bytes("in-parts", file), file).toEqual(await bytes("at-once", file));
  }

  const others: readonly [string, Partial<TrainingOptions>, Partial<TrainOptions>?][] = [
    ["seed", { seed: 8 }],
    ["rate", { learningRate: linearRate(0.02, { warmup: 3 }) }],
    ["activation", { model: { ...config, activation: "silu" } }],
    ["positions", { model: { ...config, ropeTheta: 20_000 } }],
    ["estimator", { quantization: { ...changed.quantization, ste: "clipped" } }],
    ["noise", { quantization: { ...changed.quantization, noise: "uniform" } }],
    ["optimizer", { optimizer: sgd() }],
    ["decay", { optimizer: adamW({ betas: [0.9, 0.95], weightDecay: 0.2 }) }],
    ["clipping", { clipNorm: 2 }],
    ["share held out", { heldOut: 0.2 }],
    ["device", {}, { device: "webgpu" }],
  ];
  for (const [name, other, how] of others) {
    const onCompiled = () => expect.unreachable(name);
    const resumed = train(of({ ...changed, ...other }), {
      out: join(folder, "in-parts"),
      base: folder,
      resume: true,
      onCompiled,
      ...how,
    });
    await expect(resumed, name).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
}, 60_000);

test("a loss that is no number stops the run with the step and the operation", async () => {
  const tooHigh: LearningRate = (step) => (step < 2 ? 1e-3 : 1e30);
  const quantization: TrainingOptions["quantization"] = {
    lambda: lambdaWarmup({ steps: 8 }),
    noise: "uniform",
  };
  const training = of({ steps: 9, learningRate: tooHigh, quantization });
  const diverged = train(training, { out: join(folder, "diverged"), base: folder, threads: 1 });
  await expect(diverged).rejects.toMatchObject({
    code: "TRAINING_DIVERGED",
    message: expect.stringMatching(/^At step [45] /),
    received: expect.stringMatching(/; first in (?!the state)\w+ /),
  });
}, 60_000);

describe("a training that cannot be", () => {
  test.each<[string, Partial<TrainingOptions>]>([
    ["no steps", { steps: 0 }],
    ["a sequence beyond the context", { sequence: 33 }],
    ["no text", { text: [] }],
    ["text that is none", { text: [{ path: "abc.txt" } as unknown as TrainingText] }],
    ["a rate that is a number", { learningRate: 1e-3 as unknown as LearningRate }],
    ["a decay share that is a number", { decayShare: 0.5 as unknown as DecayShare }],
    ["all text held out", { heldOut: 1 }],
    ["a vocabulary without the bytes", { tokenizer: { vocabulary: 255 } }],
    ["half a token", { tokenizer: { vocabulary: 300.5 } }],
    ["an unknown option", { epochs: 3 } as Partial<TrainingOptions>],
    ["a BitNet without BitLinear", { model: { ...config, quantized: false } }],
    [
      "a model without all it is made of",
      { model: { ...config, normEpsilon: undefined as unknown as number } },
    ],
    ["a field that models do not have", { model: { ...config, hidenSize: 3 } as typeof config }],
    ["layers there are not", { quantization: { off: (path) => path.endsWith("o_prj") } }],
    ["layers of a model of one's own", { model: languageModel(config), quantization: { off: () => true } }],
  ])("is refused where it is described: %s", (_, changed) => {
    expect(() => of(changed)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  test.each<[string, string, Partial<TrainingOptions>, number?]>([
    ["no such text", "MISSING_FILE", { text: ["nowhere.txt"] }],
    ["a rate that is no number", "INVALID_OPTION", { learningRate: (step) => (step < 2 ? 1e-3 : NaN) }],
    ["a rate below 0", "INVALID_OPTION", { learningRate: () => -1 }],
    [
      "a rate that throws",
      "INVALID_OPTION",
      {
        learningRate: () => {
          throw new Error("boom");
        },
      },
    ],
    ["a decay share beyond f32", "INVALID_OPTION", { decayShare: () => 1e39 }],
    ["too many threads", "INVALID_OPTION", {}, 256],
    ["too little text", "INVALID_INPUT", { sequence: 32, heldOut: 0.001 }],
    ["a vocabulary below the bytes", "INVALID_OPTION", { model: { ...config, vocabularySize: 255 } }],
    ["a vocabulary below the tokenizer's", "INVALID_OPTION", { tokenizer: { vocabulary: 260 } }],
    ["a step beyond all memory", "LIMIT_EXCEEDED", { batch: 4_000_000 }],
    ["a model beyond all memory", "LIMIT_EXCEEDED", { model: { ...config, vocabularySize: 3_000_000_000 } }],
  ])("is refused before anything is written: %s", async (_, code, changed, threads = 1) => {
    const out = join(folder, "refused");
    await expect(train(of(changed), { out, base: folder, threads })).rejects.toMatchObject({ code });
    expect(await stat(out).catch(() => undefined)).toBeUndefined();
  });
});

test("a run needs a folder, and --resume a run, before anything is compiled", async () => {
  const out = join(folder, "a-file");
  await writeFile(out, "");
  const onCompiled = vi.fn();
  const run = (place: string, resume: boolean) =>
    train(of({}), { out: place, base: folder, threads: 1, resume, onCompiled });
  await expect(run(out, false)).rejects.toMatchObject({ code: "WRITE_FAILED" });
  await expect(run(join(folder, "nowhere"), true)).rejects.toMatchObject({
    code: "MISSING_FILE",
    hint: expect.stringContaining("--resume"),
  });
  expect(onCompiled).not.toHaveBeenCalled();
});

test("a run that is interrupted before its step is loaded was never open, and leaves no checkpoint", async () => {
  const out = join(folder, "never-open");
  const interrupt = new AbortController();
  const onOpened = vi.fn();
  const { signal } = interrupt;
  const onCompiled = () => interrupt.abort();
  const ended = train(of({}), { out, base: folder, threads: 1, signal, onCompiled, onOpened });
  await expect(ended).rejects.toMatchObject({ code: "ABORTED" });
  expect(onOpened).not.toHaveBeenCalled();
  await expect(stat(join(out, "checkpoint.safetensors"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a checkpoint that is damaged is told from one of another training", async () => {
  const out = join(folder, "damaged");
  await mkdir(out);
  for (const content of ["", "not safetensors", "\u0002\0\0\0\0\0\0\0{}"]) {
    await writeFile(join(out, "checkpoint.safetensors"), content);
    await expect(train(of(), { out, base: folder, resume: true }), content).rejects.toMatchObject({
      code: "CORRUPT_FILE",
      hint: expect.stringMatching(/anew in another folder/),
    });
  }
});

test("tokens of the byte tokenizer are the bytes of a text", async () => {
  const files = byteTokenizerFiles();
  const tokenizer = await Tokenizer.fromFiles(async (name) => files[name]);
  const text = "Grüße, 世界! \n\t tabs   and\u0000 zeros ½";
  const tokens = [...new TextEncoder().encode(text)];
  expect(tokenizer!.encode(text)).toEqual(tokens);
  expect(tokenizer!.decode(tokens)).toBe(text);
});

test("a tokenizer that is made for a text has its frequent words as tokens, and reads any other text too", async () => {
  const text = "low lower lowest, and new newer newest; ".repeat(20);
  const texts = [text, "newer and low"].map((one) => new TextEncoder().encode(one));
  const merges = learnBytePairs(texts, 12);
  expect(merges.length).toBe(12);
  // "we" is in four of the words; of "lo" and "ow", which are equally frequent, the lower bytes come first.
  expect(merges.slice(0, 2).map((pair) => String.fromCharCode(...pair))).toEqual(["we", "lo"]);
  const files = byteTokenizerFiles(merges);
  const tokenizer = await Tokenizer.fromFiles(async (name) => files[name]);
  const tokens = tokenizer!.encode(text);
  expect(Math.max(...tokens)).toBe(256 + 11);
  expect(tokens.length).toBeLessThan(text.length / 2);
  for (const any of [text, "Grüße,  lower\n 世界!"]) {
    expect(tokenizer!.decode(tokenizer!.encode(any))).toBe(any);
  }
  const few = learnBytePairs([new TextEncoder().encode("aaa")], 100);
  expect(few).toEqual([
    [0x61, 0x61],
    [256, 0x61],
  ]);
});

test("an epoch has every window once, in another order than the one before", () => {
  const tokens = Int32Array.from({ length: 31 }, (_, i) => i);
  const windows = new Windows(tokens, 3, 1);
  const epoch = (number: number) =>
    [0, 1].flatMap((half) => [...windows.shuffled(number * 2 + half, 5).tokens.data]);
  expect(epoch(0).toSorted((a, b) => a - b)).toEqual([...tokens.subarray(0, 30)]);
  expect(epoch(1).toSorted((a, b) => a - b)).toEqual([...tokens.subarray(0, 30)]);
  expect(epoch(1)).not.toEqual(epoch(0));
  const { targets } = windows.inOrder(8, 5);
  expect(targets).toEqual({ data: Int32Array.of(25, 26, 27, 28, 29, 30), dims: [2, 3] });
});

test("the rate falls, and the decay ends, in two stages", () => {
  const rate = twoStageRate([1, 0.5], { warmup: 2 });
  const rates = Array.from({ length: 12 }, (_, step) => rate(step, 12));
  expect(rates[0]).toBe(0.5);
  expect(rates[2]).toBe(1);
  expect(rates[6]! / rates[5]!).toBeLessThan(0.45);
  for (let step = 3; step < 12; step++) expect(rates[step]).toBeLessThan(rates[step - 1]!);
  const share = twoStageDecay({ boundary: 0.25 });
  expect(Array.from({ length: 8 }, (_, step) => share(step, 8))).toEqual([1, 1, 0, 0, 0, 0, 0, 0]);
});
