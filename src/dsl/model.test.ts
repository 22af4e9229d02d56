import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { interpret } from "../../ir/interpret.ts";
import { tensor } from "../../ir/tensor.ts";
import { printGraph } from "../../ir/text/print.ts";
import { errorOf, unchecked } from "../../test/support/errors.ts";
import {
  add,
  bitLinear,
  block,
  defineModel,
  embedding,
  f32,
  i32,
  isModel,
  keyValueCache,
  linear,
  relu2,
  repeat,
  reshape,
  rmsNorm,
  type Tensor,
} from "./index.ts";

const perceptron = defineModel({
  name: "mlp",
  inputs: { x: f32("batch", 784) },
  symbols: { batch: { max: 8 } },
  layers: {
    fc1: bitLinear(784, 256, { bias: true, groupSize: 64, activation: { bits: 4 } }),
    norm: rmsNorm(256, { eps: 1e-6 }),
    fc2: linear(256, 10, { bias: true }),
  },
  forward: ({ x }, { fc1, norm, fc2 }) => ({ logits: fc2(norm(relu2(fc1(x)))) }),
});

describe("a traced model", () => {
  it("is the graph of its forward, with values and parameters named by the layer tree", () => {
    expect(printGraph(perceptron.trace())).toBe(`graph @mlp(batch <= 8) {
  %x: input f32[batch, 784]
  %fc1.weight: parameter "fc1.weight" f32[256, 784]
  %fc1.bias: parameter "fc1.bias" f32[256]
  %norm.weight: parameter "norm.weight" f32[256]
  %fc2.weight: parameter "fc2.weight" f32[10, 256]
  %fc2.bias: parameter "fc2.bias" f32[10]
  %fc1: f32[batch, 256] = bit_linear(%x, %fc1.weight, %fc1.bias) {weight_scale = {group = 64}, activation = {bits = 4, granularity = "row"}}
  %0: f32[batch, 256] = relu2(%fc1)
  %norm: f32[batch, 256] = rms_norm(%0, %norm.weight) {eps = 0.000001}
  %fc2: f32[batch, 10] = linear(%norm, %fc2.weight)
  %1: f32[batch, 10] = add(%fc2, %fc2.bias)
  return logits = %1
}
`);
  });

  it("is the same graph each time", () => {
    expect(printGraph(perceptron.trace())).toBe(printGraph(perceptron.trace()));
  });

  it("lists its parameters without tracing", () => {
    expect(perceptron.parameters()).toEqual([
      { path: "fc1.weight", dims: [256, 784], kind: "bitLinear" },
      { path: "fc1.bias", dims: [256], kind: "bias" },
      { path: "norm.weight", dims: [256], kind: "norm" },
      { path: "fc2.weight", dims: [10, 256], kind: "linear" },
      { path: "fc2.bias", dims: [10], kind: "bias" },
    ]);
  });

  it("is planned for the bounds of its symbols: a default, the model's, the build's", () => {
    const model = defineModel({
      name: "m",
      inputs: { x: f32("batch", "seq", 4) },
      symbols: { seq: { max: 7 } },
      layers: {},
      forward: ({ x }) => ({ y: relu2(x) }),
    });
    expect([...model.trace().symbols]).toEqual([
      ["batch", { max: 64 }],
      ["seq", { max: 7 }],
    ]);
    expect(model.trace({ symbols: { batch: { max: 3 } } }).symbols.get("batch")).toEqual({ max: 3 });
    expect(errorOf(() => model.trace({ symbols: { bach: { max: 3 } } }))).toMatchObject({
      code: "INVALID_OPTION",
      expected: "one of batch, seq",
      received: `"bach"`,
    });
  });

  it("shares the weights of a layer that is called twice", () => {
    const model = defineModel({
      name: "m",
      inputs: { x: f32("batch", 4) },
      layers: { fc: linear(4, 4) },
      forward: ({ x }, { fc }) => ({ y: fc(fc(x)) }),
    });
    expect(model.trace().parameters).toHaveLength(1);
  });

  it("names parameters by objects, lists and blocks", () => {
    const feedForward = () =>
      block(
        { up: linear(4, 8), down: linear(8, 4) },
        ({ up, down }) =>
          (x: Tensor<"f32", ["batch", 4]>) =>
            down(relu2(up(x))),
      );
    const model = defineModel({
      name: "m",
      inputs: { x: f32("batch", 4) },
      layers: { model: { layers: repeat(2, (index) => ({ mlp: feedForward(), norm: rmsNorm(index + 4) })) } },
      forward: ({ x }, { model }) => ({ y: model.layers.reduce((h, { mlp }) => add(h, mlp(h)), x) }),
    });
    expect(model.parameters().map(({ path, dims }) => `${path} ${dims}`)).toEqual([
      "model.layers.0.mlp.up.weight 8,4",
      "model.layers.0.mlp.down.weight 4,8",
      "model.layers.0.norm.weight 4",
      "model.layers.1.mlp.up.weight 8,4",
      "model.layers.1.mlp.down.weight 4,8",
      "model.layers.1.norm.weight 5",
    ]);
    // The norms are declared but not called: they are no part of the graph.
    expect(model.trace().parameters).toHaveLength(4);
  });

  it("takes inputs of any rank", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom("batch", "seq")), { maxLength: 4 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (lead, inFeatures, outFeatures, ternary) => {
          const fc1 = (ternary ? bitLinear : linear)(inFeatures, outFeatures, { bias: true });
          const model = defineModel({
            name: "m",
            inputs: { x: f32(...lead, inFeatures) },
            layers: { fc1, norm: rmsNorm(outFeatures) },
            forward: ({ x }, { fc1, norm }) => ({ y: norm(fc1(unchecked(x))) }),
          });
          expect(model.trace().outputs[0]!.value.type.dims).toEqual([...lead, outFeatures]);
        },
      ),
    );
  });

  it("is recognized as one", () => {
    expect(isModel(perceptron)).toBe(true);
    expect([undefined, null, {}, "model", () => perceptron].map(isModel)).toEqual(Array(5).fill(false));
  });
});

describe("where types were bypassed", () => {
  const broken = (forward: (x: Tensor<"f32", ["batch", 784]>) => unknown, layers = {}) =>
    errorOf(() =>
      defineModel({
        name: "m",
        inputs: { x: f32("batch", 784) },
        layers,
        forward: ({ x }) => ({ y: unchecked(forward(x)) }),
      }).trace(),
    );

  it("a wrong inner dimension is an error with the layer, both shapes and the line of the call", () => {
    const fc1 = bitLinear(785, 256);
    const error = broken((x) => fc1(unchecked(x)), { model: { fc1 } });
    expect(error).toMatchObject({
      code: "SHAPE_MISMATCH",
      expected: "f32[..., 785]",
      received: "f32[batch, 784]",
    });
    expect(error.message).toContain("model.fc1 (bitLinear) takes 785 features");
    expect(error.location).toMatch(/\/src\/dsl\/model\.test\.ts:\d+:\d+$/);
    const line = (offset: number) => Number(error.location!.split(":").at(offset));
    expect(line(-2)).toBe(lineOf("const error = broken((x) => fc1(unchecked(x)), { model: { fc1 } });"));
    expect(line(-1)).toBe("    const error = broken((x) => ".length + 1);
  });

  it("a wrong dtype is an error with both dtypes", () => {
    const embed = embedding(10, 4);
    expect(broken((x) => embed(unchecked(x)), { embed })).toMatchObject({
      code: "DTYPE_MISMATCH",
      expected: "i32[...]",
      received: "f32[batch, 784]",
    });
  });

  it("a layer of no model, or of another, is an unknown parameter", () => {
    const known = linear(784, 10);
    const stranger = linear(784, 10);
    expect(broken(stranger, { known })).toMatchObject({
      code: "UNKNOWN_PARAMETER",
      expected: "one of the model's layers: known",
    });
    expect(broken(stranger).location).toMatch(/model\.test\.ts/);
  });

  it("shapes that do not broadcast are an error of the op with both shapes and the line", () => {
    expect(broken((x) => add(x, unchecked(reshape(x, ["batch", 28, 28]))))).toMatchObject({
      code: "SHAPE_MISMATCH",
      received: expect.stringMatching(/\[batch, 784\].*\[batch, 28, 28\]/),
      location: expect.stringMatching(/model\.test\.ts:\d+:\d+$/),
    });
  });

  it.each([
    ["a missing layer", (x: unknown) => unchecked({}).fc9(x), /fc9 is not a function/],
    ["a number", () => relu2(unchecked(3)), /relu2 takes tensors/],
    ["nothing", () => relu2(unchecked(undefined)), /relu2 takes tensors/],
    ["two numbers", () => add(unchecked(1), unchecked(2)), /add takes tensors/],
    ["a declaration", () => linear(784, 2)(unchecked(f32("batch", 784))), /linear takes tensors/],
  ])("%s is refused where a tensor belongs", (_, forward, error) => {
    const model = () =>
      defineModel({
        name: "m",
        inputs: { x: f32("batch", 784) },
        layers: {},
        forward: ({ x }) => ({ y: unchecked(forward(x)) }),
      }).trace();
    expect(model).toThrow(error as RegExp);
  });

  it("tensors of two models do not mix", () => {
    let kept: Tensor | undefined;
    broken((x) => {
      kept = x;
    });
    expect(broken((x) => add(x, unchecked(kept)))).toMatchObject({ code: "INVALID_MODEL" });
  });

  it("what forward throws is an error of the model, with the line that threw and the cause", () => {
    const cause = new TypeError("no such thing");
    const error = broken(() => {
      throw cause;
    });
    expect(error).toMatchObject({
      code: "INVALID_MODEL",
      cause,
      received: "TypeError: no such thing",
      location: expect.stringMatching(
        new RegExp(`model\\.test\\.ts:${lineOf('const cause = new TypeError("no such thing");')}:\\d+$`),
      ),
    });
    expect(broken(() => JSON.parse("{"))).toMatchObject({
      code: "INVALID_MODEL",
      location: expect.stringMatching(/model\.test\.ts:\d+:\d+$/),
    });
  });

  it.each([
    ["nothing", undefined, /received: undefined[\s\S]*needs a return/],
    ["null", null, /received: null/],
    ["a tensor without a name", "tensor", /by name[\s\S]*received: a tensor f32\[batch, 2\]/],
    ["a list", [], /received: \[\]/],
    ["no output", {}, /received: an object with nothing in it/],
    ["a number", { y: 3 }, /received: y: 3/],
    ["a promise", Promise.resolve({}), /forward must not be async/],
  ])("forward returning %s is refused at the model's definition", (_, outputs, message) => {
    const model = defineModel({
      name: "m",
      inputs: { x: f32("batch", 2) },
      layers: {},
      forward: ({ x }) => unchecked(outputs === "tensor" ? x : outputs),
    });
    // Whoever asks for the graph is not at fault.
    const error = errorOf(() => model.trace());
    expect(error).toMatchObject({ code: "INVALID_MODEL", message: expect.stringMatching(message) });
    expect(Number(error.location?.split(":").at(-2))).toBeLessThan(
      lineOf("// Whoever asks for the graph is not at fault.") - 1,
    );
  });
});

describe("a definition that cannot be a model", () => {
  const base = {
    name: "m",
    inputs: { x: f32("batch", 2) },
    layers: {},
    forward: ({ x }: { x: Tensor }) => ({ y: x }),
  };
  const shared = linear(2, 2);

  it.each([
    ["a name that is no file name", { name: "a/b" }, "INVALID_OPTION"],
    ["no inputs", { inputs: {} }, "INVALID_MODEL"],
    ["an empty axis", { inputs: { x: f32("batch", 0) } }, "INVALID_OPTION"],
    ["half an axis", { inputs: { x: f32("batch", 1.5) } }, "INVALID_OPTION"],
    ["a dim that is no name", { inputs: { x: f32("the batch", 2) } }, "INVALID_OPTION"],
    ["an input of another dtype", { inputs: { x: { dtype: "f64", dims: ["batch", 2] } } }, "INVALID_OPTION"],
    ["an input without dims", { inputs: { x: 3 } }, "INVALID_OPTION"],
    ["a bound of zero", { symbols: { batch: { max: 0 } } }, "INVALID_OPTION"],
    ["a bound of NaN", { symbols: { batch: { max: Number.NaN } } }, "INVALID_OPTION"],
    ["a bound of an unknown symbol", { symbols: { seq: { max: 1 } } }, "INVALID_OPTION"],
    ["a misspelt option", { layer: {} }, "INVALID_OPTION"],
    ["no layers", { layers: undefined }, "INVALID_MODEL"],
    ["no forward", { forward: undefined }, "INVALID_MODEL"],
    ["a layer that is a number", { layers: { fc: 3 } }, "INVALID_MODEL"],
    ["a layer that is null", { layers: { fc: null } }, "INVALID_MODEL"],
    ["a layer name with a dot", { layers: { "a.b": shared } }, "INVALID_MODEL"],
    ["a layer in two places", { layers: { a: shared, b: [shared] } }, "INVALID_MODEL"],
  ])("%s", (_, change, code) => {
    const error = errorOf(() => defineModel(unchecked({ ...base, ...change })));
    expect(error.code).toBe(code);
    expect(error.location).toMatch(/model\.test\.ts:\d+:\d+$/);
  });

  it.each([
    ["no features", () => bitLinear(0, 4)],
    ["negative features", () => linear(4, -1)],
    ["NaN features", () => rmsNorm(Number.NaN)],
    ["half a row", () => embedding(2.5, 4)],
    ["an empty group", () => bitLinear(4, 4, { groupSize: 0 })],
    ["a group without groups", () => bitLinear(4, 4, unchecked({ weightScale: "row", groupSize: 2 }))],
    ["groups without a size", () => bitLinear(4, 4, unchecked({ weightScale: "group" }))],
    ["an unknown scale", () => bitLinear(4, 4, unchecked({ weightScale: "column" }))],
    ["one bit", () => bitLinear(4, 4, { activation: { bits: 1 } })],
    ["nine bits", () => bitLinear(4, 4, { activation: { bits: 9 } })],
    ["an unknown granularity", () => bitLinear(4, 4, { activation: unchecked({ granularity: "group" }) })],
    ["a misspelt option", () => linear(4, 4, unchecked({ biass: true }))],
    ["no options at all", () => bitLinear(4, 4, unchecked(null))],
    ["a list of options", () => linear(4, 4, unchecked([]))],
    ["a negative eps", () => rmsNorm(4, { eps: -1 })],
    ["an infinite eps", () => rmsNorm(4, { eps: Number.POSITIVE_INFINITY })],
    ["a cache of no heads", () => keyValueCache(0, 4)],
    ["no repetition", () => repeat(0, () => linear(1, 1))],
  ])("a layer with %s", (_, make) => {
    const error = errorOf(make);
    expect(error.code).toBe("INVALID_OPTION");
    expect(error.location).toMatch(/model\.test\.ts:\d+:\d+$/);
  });
});

it("computes what it says", () => {
  const model = defineModel({
    name: "m",
    inputs: { ids: i32("seq"), scale: f32(3) },
    layers: { table: embedding(4, 3) },
    forward: ({ ids, scale }, { table }) => ({ rows: add(table(ids), scale) }),
  });
  const { outputs } = interpret(model.trace(), {
    inputs: { ids: tensor("i32", [2], [3, 0]), scale: tensor("f32", [3], [10, 20, 30]) },
    parameters: { "table.weight": tensor("f32", [4, 3], [...Array(12).keys()]) },
  });
  expect([...outputs.rows!.data]).toEqual([19, 30, 41, 10, 21, 32]);
});

/** The line of this file that holds `code`. */
function lineOf(code: string): number {
  const source = readFileSync(new URL(import.meta.url), "utf8").split("\n");
  return source.findIndex((line) => line.trim() === code) + 1;
}
