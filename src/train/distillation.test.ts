import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GraphBuilder } from "../../ir/builder.ts";
import { interpret } from "../../ir/interpret.ts";
import { gradient, gradientName } from "../../ir/passes/gradient.ts";
import { tensor } from "../../ir/tensor.ts";
import { dense } from "../../ir/types.ts";
import { verifyGraph } from "../../ir/verify.ts";
import { byteTokenizerFiles } from "../../runtime/training/index.ts";
import { tinyLlama, writeTinyLlama } from "../../test/support/llama-folder.ts";
import { Random } from "../../test/support/random.ts";
import { runTraining } from "../../test/support/run-training.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { llama } from "../dsl/families/llama.ts";
import { convertCheckpoint } from "../quantize/convert-checkpoint.ts";
import { distilled, relationLoss } from "./distillation.ts";
import { constantRate, type DistillOptions, defineTraining, lossGraph } from "./index.ts";

describe("the attention-relation loss", () => {
  const [batch, seq] = [2, 3];
  /** Heads and channels of queries, keys and values, on both sides. */
  const student = [
    [4, 2],
    [2, 2],
    [2, 2],
  ] as const;
  const teacher = [
    [4, 3],
    [2, 5],
    [2, 1],
  ] as const;
  const size = ([heads, width]: readonly [number, number]) => batch * seq * heads * width;

  /** In f64, by the formula: x and y are [batch, seq, channels], which relation heads split. */
  function expected(
    own: readonly ArrayLike<number>[],
    taught: readonly ArrayLike<number>[],
    split?: number,
  ): number {
    const logs = (
      x: ArrayLike<number>,
      [heads, width]: readonly [number, number],
      b: number,
      head: number,
      t: number,
    ) => {
      const channels = heads * width;
      const d = channels / (split ?? heads);
      const at = (row: number, i: number) => x[(b * seq + row) * channels + head * d + i]!;
      const dot = (a: number, b: number) =>
        Array.from({ length: d }, (_, i) => at(a, i) * at(b, i)).reduce((sum, product) => sum + product);
      const scores = Array.from(
        { length: seq },
        (_, row) => dot(t, row) / Math.sqrt(dot(t, t) * dot(row, row)),
      );
      const log = Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0));
      return scores.map((score) => score - log);
    };
    let loss = 0;
    for (const [j, sizes] of student.entries()) {
      const heads = split ?? sizes[0];
      for (let b = 0; b < batch; b++) {
        for (let head = 0; head < heads; head++) {
          for (let t = 0; t < seq; t++) {
            const [s, p] = [logs(own[j]!, sizes, b, head, t), logs(taught[j]!, teacher[j]!, b, head, t)];
            const row = p.reduce((sum, x, i) => sum + Math.exp(x) * (x - s[i]!), 0);
            loss += row / (batch * heads * seq);
          }
        }
      }
    }
    return loss;
  }

  test.each([undefined, 1])("and its gradient, by relation heads %s", (heads) => {
    const builder = new GraphBuilder("relations");
    const leaves = (sizes: typeof student | typeof teacher, make: "parameter" | "input", name: string) =>
      sizes.map(([h, d], j) => builder[make](`${name}${j}`, dense("f32", [batch, seq, h, d])));
    const [own, taught] = [leaves(student, "parameter", "s"), leaves(teacher, "input", "t")];
    builder.output("loss", relationLoss(own, taught, heads));
    const graph = gradient(builder.build(), { loss: "loss" });
    verifyGraph(graph);
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Random(seed);
        const values = (sizes: typeof student | typeof teacher) =>
          sizes.map((one) => Float32Array.from({ length: size(one) }, () => random.normal()));
        const [s, t] = [values(student), values(teacher)];
        const named = (name: string, data: readonly Float32Array[], sizes: typeof student | typeof teacher) =>
          Object.fromEntries(
            data.map((x, j) => [`${name}${j}`, tensor("f32", [batch, seq, ...sizes[j]!], x)]),
          );
        const { outputs } = interpret(graph, {
          inputs: named("t", t, teacher),
          parameters: named("s", s, student),
        });
        expect(outputs.loss!.data[0]).toBeCloseTo(expected(s, t, heads), 5);
        for (const [j, data] of s.entries()) {
          const step = 1e-4;
          const at = (i: number, change: number) =>
            expected(s.with(j, Float64Array.from(data).with(i, data[i]! + change) as never), t, heads);
          const differences = Float32Array.from(data, (_, i) => (at(i, step) - at(i, -step)) / (2 * step));
          const received = outputs[gradientName(`s${j}`)]!;
          expect(relativeL2(received, { ...received, data: differences }), `s${j}`).toBeLessThan(1e-4);
        }
      }),
      { numRuns: 5 },
    );
  });
});

test("a model learns nothing from itself but the text, and something from another", () => {
  const model = llama({ ...tinyLlama, layers: 1 });
  const graph = lossGraph(model, { loss: distilled(model), symbols: { batch: { max: 2 }, seq: { max: 4 } } });
  verifyGraph(graph);
  const inputs = {
    tokens: tensor("i32", [2, 4], [5, 9, 3, 3, 1, 0, 39, 7]),
    targets: tensor("i32", [2, 4], [9, 3, 3, 1, 0, 39, 7, 2]),
  };
  const lossOf = (student: number, teacher: number) => {
    const tensors = (prefix: string, seed: number) => {
      const random = new Random(seed);
      return model.parameters().map(({ path, dims }) => {
        const length = dims.reduce((product, dim) => product * dim, 1);
        return [
          `${prefix}${path}`,
          tensor(
            "f32",
            dims,
            Float32Array.from({ length }, () => random.normal() / 3),
          ),
        ];
      });
    };
    const parameters = Object.fromEntries([...tensors("", student), ...tensors("teacher.", teacher)]);
    const { loss, evaluation } = interpret(graph, { inputs, parameters }).outputs;
    return [loss!.data[0]!, evaluation!.data[0]!] as const;
  };
  const [alone, crossEntropy] = lossOf(1, 1);
  expect(alone).toBeCloseTo(crossEntropy, 3);
  const [taught, same] = lossOf(1, 2);
  expect(same).toBe(crossEntropy);
  expect(taught).toBeGreaterThan(crossEntropy + 0.1);
});

describe("a training with a teacher", () => {
  let folder: string;
  const config = { ...tinyLlama, vocabularySize: 256, layers: 1 };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitloom-distil-test-"));
    await writeFile(join(folder, "text.txt"), "to be or not to be, ".repeat(60));
    await writeTinyLlama(join(folder, "llama"), config);
    await writeTinyLlama(join(folder, "other"), { ...config, vocabularySize: 258 });
    await writeTinyLlama(join(folder, "heads"), { ...config, heads: 2, keyValueHeads: 1, headDim: 8 });
    await writeTinyLlama(join(folder, "renamed"), config);
    const { "tokenizer.json": tokenizer } = byteTokenizerFiles();
    for (const name of ["llama", "other", "heads"]) {
      await writeFile(join(folder, name, "tokenizer.json"), tokenizer!);
    }
    const renamed = tokenizer!.replace('"a":97,"b":98', '"b":97,"a":98');
    await writeFile(join(folder, "renamed", "tokenizer.json"), renamed);
    await convertCheckpoint(join(folder, "llama"), { out: join(folder, "bitnet") });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const run = (distill: DistillOptions, out: string, how: { until?: number; resume?: boolean } = {}) => {
    const training = defineTraining({
      weights: "bitnet",
      text: ["text.txt"],
      steps: 4,
      batch: 4,
      sequence: 16,
      heldOut: 0.1,
      evaluateEvery: 4,
      learningRate: constantRate(0.01),
      distill,
    });
    return runTraining(training, { out: join(folder, out), base: folder, ...how });
  };

  test("brings a converted model closer to it, in parts as at once", async () => {
    const distill: DistillOptions = { teacher: "llama", weights: { attention: 10 } };
    const whole = await run(distill, "whole");
    expect(whole.losses.at(-1)).toBeLessThan(whole.losses[0]! - 0.1);
    // Held-out text is judged by the cross-entropy, which is a part of the loss.
    expect(whole.evaluations.at(-1)!.loss).toBeLessThan(whole.losses.at(-1)!);
    await expect(run(distill, "parts", { until: 2 })).rejects.toMatchObject({ code: "ABORTED" });
    expect(await run(distill, "parts", { resume: true })).toMatchObject({
      losses: whole.losses,
      evaluations: whole.evaluations,
    });
    const other = { ...distill, temperature: 2 };
    await expect(run(other, "parts", { resume: true })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }, 60_000);

  test("is refused where the teacher's tokens are others, by the first of them", async () => {
    await expect(run({ teacher: "renamed" }, "refused")).rejects.toMatchObject({
      code: "INVALID_OPTION",
      message: expect.stringContaining("`distill: teacher`"),
      expected: expect.stringMatching(/^token 97 to be "b", as in .*renamed/),
      received: expect.stringContaining('"a"'),
    });
  });

  test.each<[string, string, DistillOptions]>([
    ["another size of the vocabulary", "INVALID_OPTION", { teacher: "other" }],
    ["no such folder", "MISSING_FILE", { teacher: "nowhere" }],
    ["a layer there is not", "INVALID_OPTION", { teacher: "llama", layer: 1 }],
    ["other heads, and no relation heads", "INVALID_OPTION", { teacher: "heads" }],
    ["relation heads that do not divide the channels", "INVALID_OPTION", { teacher: "heads", heads: 3 }],
  ])("is refused: %s", async (_, code, distill) => {
    await expect(run(distill, "refused")).rejects.toMatchObject({ code });
  });

  test.each<[string, DistillOptions]>([
    ["a temperature of 0", { teacher: "llama", temperature: 0 }],
    ["a negative weight", { teacher: "llama", weights: { logits: -1 } }],
    ["a layer that is no number of one", { teacher: "llama", layer: 0.5 }],
    ["no teacher", {} as DistillOptions],
  ])("is refused where it is described: %s", async (_, distill) => {
    expect(() => run(distill, "refused")).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });
});
