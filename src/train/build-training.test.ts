import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fc, test as property } from "@fast-check/vitest";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import {
  CompiledTraining,
  firstParameters,
  loadTraining,
  splitText,
  Trainer,
  tokenize,
  withSteps,
} from "../../runtime/training/index.ts";
import { modelFiles, tensorsOf } from "../../runtime/training/model-files.ts";
import { parseRecipe } from "../../runtime/training/parse-recipe.ts";
import { alphabetConfig } from "../../test/support/alphabet-model.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import type { BuildLimits } from "../compiler/build-limits.ts";
import { requireOneBuffer } from "./build-training.ts";
import {
  buildTraining,
  constantRate,
  cosineRate,
  defineTraining,
  type TrainingOptions,
  train,
} from "./index.ts";
import { lossGraph } from "./train-step.ts";

const options: TrainingOptions = {
  model: { ...alphabetConfig, name: "tiny" },
  text: ["abc.txt"],
  steps: 30,
  batch: 4,
  sequence: 16,
  heldOut: 0.1,
  evaluateEvery: 10,
  learningRate: cosineRate(0.02, { warmup: 2 }),
  seed: 7,
};
const training = defineTraining(options);
const text = "abcdefgh".repeat(200);

let folder: string;
let loaded: CompiledTraining;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-build-training-"));
  await writeFile(join(folder, "abc.txt"), text);
  await buildTraining(training, { out: join(folder, "artifact"), maxThreads: 1 });
  loaded = await loadTraining(join(folder, "artifact"), { threads: 1 });
});
afterAll(async () => {
  await loaded?.dispose();
  await rm(folder, { recursive: true, force: true });
});

async function generated(prompt: string, maxTokens: number): Promise<string> {
  let whole = "";
  for await (const piece of loaded.generate(prompt, { maxTokens })) whole += piece;
  return whole;
}

test("a built training gives the losses and the files of the trainer in Node, each time that it is started", async () => {
  const out = join(folder, "run");
  const { losses, evaluations, model } = await train(training, { out, base: folder, threads: 1 });
  for (const _ of ["first", "again"]) {
    const trainer = await loaded.start([text]);
    // A run that nobody asks for more goes on when it is asked again.
    for await (const { step } of trainer.run()) if (step === 7) break;
    expect(trainer.progress.losses).toHaveLength(7);
    for await (const { step, heldOutLoss } of trainer.run())
      expect(heldOutLoss !== undefined).toBe(step % 10 === 0);
    expect(trainer.progress).toEqual({ losses, evaluations });
  }
  for (const [name, pieces] of await loaded.modelFiles()) {
    const bytes = new Uint8Array(await new Blob([...pieces]).arrayBuffer());
    expect(bytes, name).toEqual(new Uint8Array(await readFile(join(model, name))));
  }
  expect(await generated("abcdefghabcdefgh", 20)).toBe("abcdefghabcdefghabcd");
});

test("what a model predicts while it is trained is what it computes on whole sequences", async () => {
  await loaded.start([text]);
  const tokens = tensor("i32", [1, 9], Int32Array.from(new TextEncoder().encode("Hello 123")));
  const { logits } = await loaded.model.call("predict", {
    tokens: { data: tokens.data as Int32Array<ArrayBuffer>, dims: [1, 9] },
  });
  const parameters: Record<string, Tensor> = {};
  for (const [path, { dims, data }] of firstParameters(loaded.recipe)) {
    parameters[path] = tensor("f32", dims, data);
  }
  const graph = lossGraph(training.model!, { loss: (traced) => traced });
  const { outputs } = interpret(graph, { inputs: { tokens }, parameters });
  const want = tensor("f32", [1, 256], outputs.logits!.data.slice(8 * 256) as Float32Array<ArrayBuffer>);
  expect(relativeL2({ ...want, data: logits!.data as Float32Array }, want)).toBeLessThan(1e-5);
});

test("one that goes on from weights, of which some are frozen, brings them along", async () => {
  const { model: _described, ...run } = options;
  const further = defineTraining({
    ...run,
    weights: "run/model",
    trainable: ({ kind }) => kind !== "embedding",
    steps: 2,
    evaluateEvery: 2,
    learningRate: constantRate(1e-4),
  });
  const out = join(folder, "further");
  const { losses, evaluations, model } = await train(further, { out, base: folder, threads: 1 });
  await buildTraining(further, { out: join(out, "built"), base: folder, maxThreads: 1 });
  await using built = await loadTraining(join(out, "built"), { threads: 1 });
  const trainer = await built.start([text]);
  for await (const _ of trainer.run());
  expect(trainer.progress).toEqual({ losses, evaluations });
  const weights = (await built.modelFiles()).get("model.safetensors") as readonly Uint8Array[];
  expect(Buffer.concat(weights).equals(await readFile(join(model, "model.safetensors")))).toBe(true);
  const told: string[] = [];
  for await (const piece of built.generate("abcdefghabcdefgh", { maxTokens: 4 })) told.push(piece);
  expect(told.join("")).toBe("abcd");
  expect(() => tensorsOf(new Uint8Array(4))).toThrow(expect.objectContaining({ code: "CORRUPT_FILE" }));
});

test.each<[string, readonly string[], number]>([
  ["does not read first weights again where all are trained", [], 1],
  ["reads first weights again where some are frozen", ["frozen.weight"], 2],
])("saving a model %s", async (_, frozen, readings) => {
  const { model, recipe } = loaded;
  const given = new Map([
    ...firstParameters(recipe),
    ...frozen.map((path) => [path, { dims: [1], data: Float32Array.of(7) }] as const),
  ]);
  const readFirst = vi.fn(async () => given);
  const further = new CompiledTraining(model, recipe, undefined, {}, readFirst);
  await further.start([text]);
  expect(await further.modelFiles()).toEqual(modelFiles(given, recipe, {}));
  expect(readFirst).toHaveBeenCalledTimes(readings);
});

test("first weights beyond one buffer are refused with their size", () => {
  const matrix = { kind: "linear", init: "normal" } as const;
  const half = { ...matrix, path: "half", dims: [2 ** 14, 2 ** 14] };
  requireOneBuffer([half, { ...half, path: "other" }]);
  expect(() => requireOneBuffer([half, half, { ...half, dims: [1] }])).toThrow(
    expect.objectContaining({
      code: "LIMIT_EXCEEDED",
      received: "2.15 GB",
      hint: expect.stringContaining("bitloom train"),
    }),
  );
});

test("an evaluation that fails is made up for when the run goes on", async () => {
  const recipe = withSteps(loaded.recipe, 2);
  const whole = await loaded.start([text], recipe);
  for await (const _ of whole.run());
  expect(whole.progress.evaluations.map(({ step }) => step)).toEqual([0, 1, 2]);
  const call = loaded.model.call.bind(loaded.model);
  let isUnlucky = true;
  const calls = vi.spyOn(loaded.model, "call").mockImplementation(async (entry, inputs) => {
    if (entry === "evaluate" && isUnlucky) throw new Error("out of luck");
    return call(entry, inputs);
  });
  const trainer = await loaded.start([text], recipe);
  await expect(trainer.run().next()).rejects.toThrow("out of luck");
  isUnlucky = false;
  expect(await trainer.evaluate()).toEqual(whole.progress.evaluations[0]);
  isUnlucky = true;
  await expect(trainer.run().next()).rejects.toThrow("out of luck");
  isUnlucky = false;
  for await (const _ of trainer.run());
  calls.mockRestore();
  expect(trainer.progress).toEqual(whole.progress);
});

test("weights that are no numbers any more end the run with its last step, whatever the search for them comes to", async () => {
  const recipe = { ...withSteps(loaded.recipe, 1), schedules: { learning_rate: [1e38] } };
  await loaded.start([text], recipe);
  const windows = splitText(tokenize([new TextEncoder().encode(text)], recipe), recipe);
  const findNonFinite = vi.fn(async () => {
    throw new Error("no room for that");
  });
  const trainer = new Trainer(loaded.model, recipe, windows, { findNonFinite });
  await expect(trainer.run().next()).rejects.toMatchObject({
    code: "TRAINING_DIVERGED",
    message: expect.stringMatching(/^After step 1 .*held-out/),
    received: expect.stringMatching(/^a loss of \w+$/),
  });
  expect(findNonFinite).toHaveBeenCalledOnce();
});

test("what cannot be trained or continued is refused", async () => {
  await expect(loaded.start(["short"])).rejects.toMatchObject({ code: "INVALID_INPUT" });
  await expect(generated("", 1)).rejects.toMatchObject({ code: "INVALID_INPUT" });
  const taught = defineTraining({ ...options, distill: { teacher: "teacher" } });
  await expect(buildTraining(taught, { out: join(folder, "refused") })).rejects.toMatchObject({
    code: "INVALID_OPTION",
  });
  for (const wrong of [{ targets: ["foo"] }, { targets: [] }, { maxThreads: 0 }] as BuildLimits[]) {
    await expect(buildTraining(training, { out: join(folder, "wrong"), ...wrong })).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
  }
  expect(() => withSteps(loaded.recipe, 0)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
});

describe("a recipe", () => {
  const parse = (changed: object) =>
    parseRecipe(JSON.stringify({ ...loaded.recipe, ...changed }), loaded.model.manifest);

  test("is read as it was written", () => expect(parse({})).toEqual(loaded.recipe));

  test.each<[string, object]>([
    ["a length that is none", { batch: 0 }],
    ["more than the artifact has room for", { sequence: 17 }],
    ["a step in parts that the artifact has not", { accumulation: 2 }],
    ["a parameter that is no state", { parameters: [{ path: "other.weight", dims: [2], kind: "linear" }] }],
    ["too few rates", { schedules: { learning_rate: [1] } }],
    ["no rate", { schedules: {} }],
  ])("is refused with its field: %s", (_, changed) => {
    expect(() => parse(changed)).toThrow(
      expect.objectContaining({
        code: "INVALID_MANIFEST",
        location: expect.stringMatching(/^training\.json/),
      }),
    );
  });

  property.prop([
    fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1 }),
    fc.integer({ min: 1, max: 99 }),
  ])(
    "for other steps keeps its schedules' first, last and order, and has no value between theirs",
    (unsorted, steps) => {
      const values = unsorted.toSorted((a, b) => a - b);
      const recipe = { ...loaded.recipe, steps: values.length, schedules: { learning_rate: values } };
      const { learning_rate: stretched } = withSteps(recipe, steps).schedules;
      expect(stretched).toHaveLength(steps);
      expect(stretched![0]).toBe(values[0]);
      if (steps > 1) expect(stretched!.at(-1)).toBe(values.at(-1));
      expect(stretched!.toSorted((a, b) => a - b)).toEqual(stretched);
      expect(values).toEqual(expect.arrayContaining([...stretched!]));
    },
  );
});

test("another artifact is no training", async () => {
  const manifest = JSON.parse(await readFile(join(folder, "artifact", "manifest.json"), "utf8"));
  const other = join(folder, "other");
  await cp(join(folder, "artifact"), other, { recursive: true });
  manifest.files = manifest.files.filter(({ path }: { path: string }) => path !== "training.json");
  await writeFile(join(other, "manifest.json"), JSON.stringify(manifest));
  await expect(loadTraining(other, { threads: 1 })).rejects.toMatchObject({ code: "INVALID_INPUT" });
});
