import { describe, expect, it } from "vitest";
import { interpret } from "../../../ir/interpret.ts";
import { type Tensor as Data, tensor } from "../../../ir/tensor.ts";
import { errorOf, unchecked } from "../../../test/support/errors.ts";
import {
  abs,
  add,
  attention,
  cast,
  concat,
  type Dims,
  defineModel,
  div,
  exp,
  f32,
  gelu,
  i32,
  log,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  neg,
  relu,
  relu2,
  reshape,
  rope,
  sigmoid,
  silu,
  slice,
  softmax,
  sqrt,
  sub,
  sum,
  type Tensor,
  tanh,
  transpose,
} from "../index.ts";

/** What a function makes of one tensor: its dims, and its elements in the reference interpreter. */
function evaluate<const S extends readonly number[]>(
  dims: S,
  values: readonly number[],
  forward: (x: Tensor<"f32", [...S]>) => Tensor,
): { dims: Dims; values: number[] } {
  const model = defineModel({
    name: "m",
    inputs: { x: f32(...(dims as Dims as [])) },
    layers: {},
    forward: ({ x }) => ({ y: forward(unchecked(x)) }),
  });
  const { outputs } = interpret(model.trace(), {
    inputs: { x: tensor("f32", dims, values) },
    parameters: {},
  });
  return { dims: outputs.y!.type.dims, values: [...(outputs.y as Data).data] };
}

const grid = [1, 2, 3, 4, 5, 6];

describe("functions of one element", () => {
  const erf = (x: number) => {
    // Maclaurin series: slow, and right where the test looks.
    let term = x;
    let total = x;
    for (let n = 1; n < 60; n++) {
      term *= (-x * x) / n;
      total += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * total;
  };
  const logistic = (x: number) => 1 / (1 + Math.exp(-x));
  const cubic = (x: number) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);

  it.each<[string, (x: Tensor<"f32", [4]>) => Tensor, (x: number) => number]>([
    ["relu", relu, (x) => Math.max(x, 0)],
    ["relu2", relu2, (x) => Math.max(x, 0) ** 2],
    ["silu", silu, (x) => x * logistic(x)],
    ["gelu", (x) => gelu(x), (x) => 0.5 * x * (1 + erf(x / Math.SQRT2))],
    ["gelu by tanh", (x) => gelu(x, { approximate: "tanh" }), (x) => 0.5 * x * (1 + Math.tanh(cubic(x)))],
    ["sigmoid", sigmoid, logistic],
    ["tanh", tanh, Math.tanh],
    ["exp", exp, Math.exp],
    ["abs", abs, Math.abs],
    ["neg", neg, (x) => -x],
    ["log of the square", (x) => log(mul(x, x)), (x) => Math.log(x * x)],
    ["sqrt of the square", (x) => sqrt(mul(x, x)), Math.abs],
    ["sub", (x) => sub(x, 2), (x) => x - 2],
    ["sub from a number", (x) => sub(2, x), (x) => 2 - x],
    ["div", (x) => div(x, 2), (x) => x / 2],
    ["div of a number", (x) => div(2, x), (x) => 2 / x],
    ["maximum", (x) => maximum(x, 0.5), (x) => Math.max(x, 0.5)],
    ["minimum", (x) => minimum(0.5, x), (x) => Math.min(x, 0.5)],
  ])("%s", (_, forward, expected) => {
    const values = [-2, -0.5, 0.25, 1.5];
    const result = evaluate([4], values, forward);
    expect(result.dims).toEqual([4]);
    for (const [i, x] of values.entries()) expect(result.values[i]).toBeCloseTo(expected(x), 5);
  });
});

describe("functions of a tensor", () => {
  it.each<[string, (x: Tensor<"f32", [2, 3]>) => Tensor, Dims, readonly number[]]>([
    ["sum over columns", (x) => sum(x, { axis: -1 }), [2], [6, 15]],
    ["sum over rows", (x) => sum(x, { axis: 0 }), [3], [5, 7, 9]],
    ["mean", (x) => mean(x, { axis: 1, keepDims: true }), [2, 1], [2, 5]],
    ["max", (x) => max(x, { axis: 0 }), [3], [4, 5, 6]],
    ["min", (x) => min(x, { axis: -1 }), [2], [1, 4]],
    [
      "the distance to the mean",
      (x) => sub(x, mean(x, { axis: 1, keepDims: true })),
      [2, 3],
      [-1, 0, 1, -1, 0, 1],
    ],
    ["reshape", (x) => reshape(x, [3, 2]), [3, 2], grid],
    ["transpose", (x) => transpose(x, [1, 0]), [3, 2], [1, 4, 2, 5, 3, 6]],
    ["slice", (x) => slice(x, { axis: -1, start: 1, size: 2 }), [2, 2], [2, 3, 5, 6]],
    ["slice from the end", (x) => slice(x, { axis: 0, start: -1, size: 1 }), [1, 3], [4, 5, 6]],
    [
      "concat",
      (x) => concat([x, slice(x, { axis: 1, start: 0, size: 1 })], { axis: 1 }),
      [2, 4],
      [1, 2, 3, 1, 4, 5, 6, 4],
    ],
    ["cast", (x) => cast(div(x, 2), "i32"), [2, 3], [0, 1, 1, 2, 2, 3]],
    [
      "a row added to every row",
      (x) => add(x, reshape(slice(x, { axis: 0, start: 0, size: 1 }), [3])),
      [2, 3],
      [2, 4, 6, 5, 7, 9],
    ],
  ])("%s", (_, forward, dims, values) => {
    expect(evaluate([2, 3], grid, forward)).toEqual({ dims, values });
  });

  it("softmax sums to one over the last axis", () => {
    const { values } = evaluate([2, 2], [0, Math.log(3), 100, 100], softmax);
    expect(values.map((x) => Number(x.toFixed(6)))).toEqual([0.25, 0.75, 0.5, 0.5]);
  });

  it("integers add, and take only integers", () => {
    const model = (number: number) =>
      defineModel({
        name: "m",
        inputs: { ids: i32(2) },
        layers: {},
        forward: ({ ids }) => ({ y: add(ids, number) }),
      }).trace();
    const inputs = { ids: tensor("i32", [2], [1, 2]) };
    expect([...interpret(model(3), { inputs, parameters: {} }).outputs.y!.data]).toEqual([4, 5]);
    expect(errorOf(() => model(0.5)).code).toBe("INVALID_ATTRIBUTE");
  });

  it.each<[string, (x: Tensor<"f32", [2, 3]>) => unknown, string]>([
    ["an axis that is not there", (x) => sum(x, { axis: unchecked(2) }), "INVALID_OPTION"],
    ["half an axis", (x) => sum(x, { axis: unchecked(0.5) }), "INVALID_OPTION"],
    ["no axis", (x) => mean(x, unchecked({})), "INVALID_OPTION"],
    ["a misspelt option", (x) => max(x, unchecked({ axis: 0, keepdims: true })), "INVALID_OPTION"],
    ["an unknown approximation", (x) => gelu(x, unchecked({ approximate: "erf" })), "INVALID_OPTION"],
    ["another number of elements", (x) => reshape(x, unchecked([2, 4])), "SHAPE_MISMATCH"],
    ["dims that are no list", (x) => reshape(x, unchecked(6)), "INVALID_OPTION"],
    ["an axis twice", (x) => transpose(x, unchecked([0, 0])), "INVALID_ATTRIBUTE"],
    ["a permutation that is no list", (x) => transpose(x, unchecked(0)), "INVALID_OPTION"],
    [
      "a slice beyond the axis",
      (x) => slice(x, { axis: 1, start: 2, size: unchecked(2) }),
      "INVALID_ATTRIBUTE",
    ],
    ["an empty slice", (x) => slice(x, { axis: 1, start: 0, size: 0 }), "INVALID_ATTRIBUTE"],
    ["nothing to concat", () => concat(unchecked([]), { axis: 0 }), "INVALID_OPTION"],
    ["rows of two lengths", (x) => concat(unchecked([x, reshape(x, [3, 2])]), { axis: 0 }), "SHAPE_MISMATCH"],
    ["an unknown dtype", (x) => cast(x, unchecked("f64")), "INVALID_OPTION"],
    [
      "heads that are not split",
      (x) => attention(unchecked(x), unchecked(x), unchecked(x)),
      "SHAPE_MISMATCH",
    ],
  ])("%s is refused with the user's line", (_, forward, code) => {
    const error = errorOf(() => evaluate([2, 3], grid, unchecked(forward)));
    expect(error.code).toBe(code);
    expect(error.location).toMatch(/functions\.test\.ts:\d+:\d+$/);
  });
});

describe("rope", () => {
  const turn = (position: number, options: Partial<Parameters<typeof rope>[1]>) => {
    const model = defineModel({
      name: "m",
      inputs: { x: f32("batch", 1, 1, 128), positions: i32("batch") },
      layers: {},
      forward: ({ x, positions }) => ({
        y: rope(x, { theta: 500_000, length: position + 1, positions, ...unchecked(options) }),
      }),
    });
    // The first half is 1 and the second 0, so the result is cosines, then sines.
    const x = Array.from({ length: 128 }, (_, i) => (i < 64 ? 1 : 0));
    const { outputs } = interpret(model.trace(), {
      inputs: { x: tensor("f32", [1, 1, 1, 128], x), positions: tensor("i32", [1], [position]) },
      parameters: {},
    });
    const y = outputs.y!.data;
    return Array.from({ length: 64 }, (_, i) => Math.atan2(y[64 + i]!, y[i]!));
  };

  it("turns pair i by theta^(-2i/headDim) a position", () => {
    const angles = turn(3, {});
    for (const i of [10, 40, 63]) expect(angles[i]).toBeCloseTo(3 * 500_000 ** (-i / 64), 6);
  });

  it("turns slower by the factor with linear scaling", () => {
    const angles = turn(3, { scaling: { kind: "linear", factor: 4 } });
    for (const i of [10, 40, 63]) expect(angles[i]).toBeCloseTo((3 / 4) * 500_000 ** (-i / 64), 6);
  });

  it("keeps, blends and stretches frequencies as Llama 3.1 does", () => {
    // From transformers' formula in f32 with Llama 3.1's numbers: kept, three between, stretched.
    const frequencies = new Map([
      [28, 0.0032114461064338684],
      [29, 0.0021665706299245358],
      [31, 0.0008567514596506953],
      [34, 0.0001785077911335975],
      [35, 0.00009556212899042293],
      [63, 3.068925877869333e-7],
    ]);
    const angles = turn(100, {
      scaling: {
        kind: "llama3",
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalContextLength: 8192,
      },
    });
    for (const [i, frequency] of frequencies) {
      expect(Math.abs(angles[i]! / (100 * frequency) - 1)).toBeLessThan(1e-5);
    }
  });

  it.each([
    ["no positions outside of a language model", { positions: undefined }, "INVALID_OPTION"],
    ["no length outside of a language model", { length: undefined }, "INVALID_OPTION"],
    ["a theta of zero", { theta: 0 }, "INVALID_OPTION"],
    ["an unknown scaling", { scaling: unchecked({ kind: "yarn", factor: 2 }) }, "INVALID_ATTRIBUTE"],
    ["a scaling by zero", { scaling: { kind: "linear", factor: 0 } as const }, "INVALID_ATTRIBUTE"],
  ])("refuses %s", (_, options, code) => {
    expect(errorOf(() => turn(1, unchecked(options))).code).toBe(code);
  });
});

it("attention looks back, and groups of query heads share a key head", () => {
  // Two tokens, two query heads on one key-value head of width 2; scores of 0 weigh all visible tokens alike.
  const model = defineModel({
    name: "m",
    inputs: { q: f32("batch", "seq", 2, 2), kv: f32("batch", "seq", 1, 2) },
    layers: {},
    forward: ({ q, kv }) => ({ y: attention(q, kv, kv) }),
  });
  const { outputs } = interpret(model.trace(), {
    inputs: {
      q: tensor("f32", [1, 2, 2, 2], [0, 0, 0, 0, 0, 0, 100, 0]),
      kv: tensor("f32", [1, 2, 1, 2], [1, 2, 3, 4]),
    },
    parameters: {},
  });
  expect([...outputs.y!.data]).toEqual([1, 2, 1, 2, 2, 3, 3, 4]);
});
