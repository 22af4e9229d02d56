import { describe, expect, it } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { errorOf, unchecked } from "../../test/support/errors.ts";
import { Random } from "../../test/support/random.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { readFloats } from "../checkpoint/read-floats.ts";
import { type MemoryParameter, memorySource, type ParameterSource } from "../checkpoint/source.ts";
import {
  add,
  bitLinear,
  block,
  defineModel,
  f32,
  linear,
  type Model,
  relu2,
  repeat,
  rmsNorm,
  type Tensor as Symbolic,
} from "../dsl/index.ts";
import { squaredErrorLoss } from "../train/loss.ts";
import { sgd } from "../train/sgd.ts";
import { trainingGraph } from "../train/train-step.ts";
import { addCorrections, type CorrectionInit, initializeCorrections } from "./correct.ts";
import { freeze, onlyCorrections, trainable, unfreeze } from "./trainable.ts";

const model = defineModel({
  name: "m",
  inputs: { x: f32("batch", 24) },
  symbols: { batch: { max: 6 } },
  layers: {
    layers: repeat(2, () =>
      block(
        {
          norm: rmsNorm(24),
          up: bitLinear(24, 40, { bias: true }),
          down: bitLinear(40, 24, { groupSize: 16 }),
        },
        ({ norm, up, down }) =>
          (x: Symbolic<"f32", ["batch", 24]>) =>
            add(x, down(relu2(up(norm(x))))),
      ),
    ),
    head: linear(24, 5),
  },
  forward: ({ x }, { layers, head }) => ({ y: head(layers.reduce((h, layer) => layer(h), x)) }),
});

const random = new Random(3);
const latent = memorySource(
  new Map(
    model.parameters().map(({ path, dims, kind }): [string, MemoryParameter] => {
      const length = dims.reduce((product, dim) => product * dim, 1);
      const data = Float32Array.from({ length }, () => (kind === "norm" ? 1 : random.normal() / 5));
      return [path, { dims, data }];
    }),
  ),
);
const x = tensor(
  "f32",
  [6, 24],
  Float32Array.from({ length: 144 }, () => random.normal()),
);

async function parametersOf(of: Model, source: ParameterSource): Promise<Record<string, Tensor>> {
  const entries = of.parameters().map(async ({ path, dims }) => {
    return [path, tensor("f32", dims, await readFloats(source, path))] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function outputOf(of: Model, source: ParameterSource): Promise<Tensor> {
  return interpret(of.trace(), { inputs: { x }, parameters: await parametersOf(of, source) }).outputs.y!;
}

const initialized = (init: CorrectionInit, rankPercentage: number) => {
  const corrected = addCorrections(model, { rankPercentage });
  return initializeCorrections(corrected, latent, { init }).then((result) => ({ corrected, ...result }));
};

describe("a model with low-rank corrections", () => {
  it("has them at every BitLinear, of a rank in percent of the smaller size", () => {
    const paths = addCorrections(model, { rankPercentage: 10 }).parameters();
    expect(
      paths.filter(({ path }) => path.startsWith("layers.1.")).map(({ path, dims }) => `${path} ${dims}`),
    ).toEqual([
      "layers.1.norm.weight 24",
      "layers.1.up.weight 40,24",
      "layers.1.up.bias 40",
      "layers.1.up.lrc_U 40,2",
      "layers.1.up.lrc_V 24,2",
      "layers.1.down.weight 24,40",
      "layers.1.down.lrc_U 24,2",
      "layers.1.down.lrc_V 40,2",
    ]);
    const some = addCorrections(model, { rankPercentage: 1, modules: (path) => path.endsWith("up") });
    expect(
      some
        .parameters()
        .filter(({ kind }) => kind === "correction")
        .map(({ path }) => path),
    ).toEqual(["layers.0.up.lrc_U", "layers.0.up.lrc_V", "layers.1.up.lrc_U", "layers.1.up.lrc_V"]);
    // A second time, the others get theirs.
    const all = addCorrections(some, { rankPercentage: 50 }).parameters();
    expect(all.find(({ path }) => path === "layers.0.up.lrc_U")!.dims).toEqual([40, 1]);
    expect(all.find(({ path }) => path === "layers.0.down.lrc_U")!.dims).toEqual([24, 12]);
  });

  it("computes the same as without while one factor is zero", async () => {
    const { corrected, weights } = await initialized("zeros", 20);
    expect((await outputOf(corrected, weights)).data).toEqual((await outputOf(model, latent)).data);
  });

  it("comes closer to full precision with the residual's singular vectors, the more the higher the rank", async () => {
    const full = defineModel({
      name: "m",
      inputs: { x: f32(6, 24) },
      layers: { up: linear(24, 40, { bias: true }) },
      forward: ({ x }, { up }) => ({ y: up(x) }),
    });
    const ternary = defineModel({
      name: "m",
      inputs: { x: f32(6, 24) },
      layers: { up: bitLinear(24, 40, { bias: true }) },
      forward: ({ x }, { up }) => ({ y: up(x) }),
    });
    const own = memorySource(
      new Map(
        await Promise.all(
          full.parameters().map(async ({ path, dims }) => {
            return [path, { dims, data: await readFloats(latent, `layers.0.${path}`) }] as const;
          }),
        ),
      ),
    );
    const exact = await outputOf(full, own);
    const errors = [relativeL2(await outputOf(ternary, own), exact)];
    for (const rankPercentage of [10, 40, 100]) {
      const corrected = addCorrections(ternary, { rankPercentage });
      const { weights, statistics } = await initializeCorrections(corrected, own, { init: "svd_residual" });
      errors.push(relativeL2(await outputOf(corrected, weights), exact));
      const [{ rank, parameters, bytes, residualNorm }] = statistics as [(typeof statistics)[0]];
      expect([rank, parameters, bytes]).toEqual([
        Math.round((24 * rankPercentage) / 100),
        rank * 64,
        rank * 256,
      ]);
      expect(residualNorm.after).toBeLessThan(residualNorm.before);
    }
    expect(errors).toEqual([...errors].sort((a, b) => b - a));
    // What is left at full rank is the quantization of the activation.
    expect(errors.at(-1)).toBeLessThan(0.02);
  });

  it("keeps factors that the weights hold", async () => {
    const { corrected, weights } = await initialized("svd_residual", 20);
    const again = await initializeCorrections(corrected, weights, { init: "zeros" });
    expect(again.statistics).toEqual([]);
    expect(await outputOf(corrected, again.weights)).toEqual(await outputOf(corrected, weights));
  });

  it("learns by its corrections alone while all else is frozen", async () => {
    const { corrected, weights } = await initialized("zeros", 20);
    const parameters = trainable(corrected, onlyCorrections);
    expect(parameters).toHaveLength(8);
    const graph = trainingGraph(corrected, {
      optimizer: sgd(),
      loss: (traced) => squaredErrorLoss(traced, { output: "y" }),
      parameters,
    });
    const all = await parametersOf(corrected, weights);
    let states = Object.fromEntries(parameters.map((path) => [path, all[path]!]));
    const targets = tensor(
      "f32",
      [6, 5],
      Float32Array.from({ length: 30 }, (_, i) => Math.sin(i)),
    );
    const losses: number[] = [];
    for (let step = 0; step < 12; step++) {
      const inputs = { x, targets, learning_rate: tensor("f32", [], [0.03]) };
      const result = interpret(graph, { inputs, parameters: all, states });
      states = result.states as typeof states;
      losses.push(result.outputs.loss!.data[0]!);
    }
    expect(Object.keys(states).sort()).toEqual([...parameters].sort());
    expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
  });

  it("freezes and unfreezes by what parameters are", () => {
    const all = trainable(model, () => true);
    const withoutNorms = freeze(model, all, ({ kind }) => kind === "norm" || kind === "bias");
    expect(withoutNorms).toEqual(all.filter((path) => !/norm|bias/.test(path)));
    expect(unfreeze(model, withoutNorms, ({ kind }) => kind === "norm")).toEqual(
      all.filter((path) => !/bias/.test(path)),
    );
    expect(errorOf(() => trainable(model, onlyCorrections)).code).toBe("INVALID_OPTION");
  });

  it("is refused for a rank, a start or a model that cannot be", async () => {
    for (const rankPercentage of [0, -1, 101, Number.NaN]) {
      expect(errorOf(() => addCorrections(model, { rankPercentage })).code).toBe("INVALID_OPTION");
    }
    const none = () => addCorrections(model, { rankPercentage: 5, modules: () => false });
    expect(errorOf(none).message).toContain("no BitLinear to correct");
    await expect(initializeCorrections(model, latent, { init: unchecked("ones") })).rejects.toMatchObject({
      code: "INVALID_OPTION",
    });
    const packed = memorySource(
      new Map([
        [
          "fc.weight",
          {
            dims: [4, 4],
            data: new Uint8Array(4),
            form: { kind: "ternary-packed" as const, scale: Float32Array.of(1), layout: "hf" as const },
          },
        ],
      ]),
    );
    const fc = defineModel({
      name: "m",
      inputs: { x: f32("batch", 4) },
      layers: { fc: bitLinear(4, 4) },
      forward: ({ x }, { fc }) => ({ y: fc(x) }),
    });
    const corrected = addCorrections(fc, { rankPercentage: 25 });
    await expect(initializeCorrections(corrected, packed, { init: "svd_residual" })).rejects.toMatchObject({
      code: "INVALID_TENSOR",
    });
  });
});
