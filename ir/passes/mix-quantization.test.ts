import { test as propertyTest } from "@fast-check/vitest";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random } from "../../test/support/random.ts";
import { relativeL2 } from "../../test/support/tolerance.ts";
import { GraphBuilder } from "../builder.ts";
import type { Graph } from "../graph.ts";
import { interpret } from "../interpret.ts";
import { absmean, quantizeRows } from "../numerics.ts";
import type { Attributes } from "../ops/index.ts";
import { type Tensor, tensor, toFloat32 } from "../tensor.ts";
import { parseGraph } from "../text/parse.ts";
import { printGraph } from "../text/print.ts";
import { dense } from "../types.ts";
import { verifyGraph } from "../verify.ts";
import { gradient, gradientName } from "./gradient.ts";
import { mixQuantization, NOISE_KEYS } from "./mix-quantization.ts";
import type { Estimator, Noise } from "./mixture.ts";
import { runForwardPipeline } from "./pipelines.ts";

const both = () => ({ weights: "lambda", activations: "lambda" });

test("a layer multiplies mixtures, with the gradients of what it mixes", () => {
  const before = parseGraph(`graph @net(batch <= 4) {
    %x: input f32[batch, 4]
    %w: parameter "fc.weight" f32[2, 4]
    %y: f32[batch, 2] = bit_linear(%x, %w) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
    return y = %y
  }`);
  const after = mixQuantization(before, { lambdas: both });
  verifyGraph(after);
  expect(printGraph(after).trim()).toMatchInlineSnapshot(`
    "graph @net(batch <= 4) {
      %x: input f32[batch, 4]
      %lambda: input f32[]
      %w: parameter "fc.weight" f32[2, 4]
      %x.codes: i8[batch, 4], %x.d: f32[batch, 1], %x.sum: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
      %0: f32[batch, 4] = cast(%x.codes) {dtype = "f32"}
      %1: f32[batch, 4] = elementwise(%x, %0, %x.d, %lambda) {expr = add(mul(sub(1, x3), x0), mul(x3, mul(x1, x2)))}
      %x.mixed: f32[batch, 4] = straight_through(%1, %x)
      %w.ternary: f32[2, 4] ternary(row) = absmean_quantize(%w) {scale = "row"}
      %2: f32[2] = weight_scale(%w.ternary)
      %w.scale: f32[2, 1] = reshape(%2) {dims = [2, 1]}
      %3: f32[2, 1] = reciprocal(%w.scale)
      %4: f32[2, 4] = elementwise(%w, %w.scale, %3, %lambda) {expr = add(mul(sub(1, x3), x0), mul(x3, mul(mul(sign(mul(x0, x2)), relu(sign(sub(abs(mul(x0, x2)), 0.5)))), x1)))}
      %w.mixed: f32[2, 4] = straight_through(%4, %w)
      %y: f32[batch, 2] = linear(%x.mixed, %w.mixed)
      return y = %y
    }"
  `);
});

test("where nothing is mixed, the graph is the same", () => {
  const graph = layer(3, 4, { weight_scale: "tensor", activation: null });
  expect(mixQuantization(graph, { noise: "uniform" })).toEqual(graph);
  const packed = parseGraph(`graph @net() {
    %x: input f32[1, 4]
    %w: parameter "fc.weight" f32[2, 4] ternary(row)
    %y: f32[1, 2] = bit_linear(%x, %w) {weight_scale = "row", activation = null}
    return y = %y
  }`);
  expect(mixQuantization(packed, { lambdas: both, estimator: "clipped" })).toEqual(packed);
});

type BitLinear = Attributes<"bit_linear">;

const ROWS = 5;

/** y = bit_linear(x, w, bias) and the loss sum(y * g), for x [ROWS, k], w [n, k] and g [ROWS, n]. */
function layer(n: number, k: number, attributes: BitLinear): Graph {
  const builder = new GraphBuilder("layer");
  const x = builder.parameter("x", dense("f32", [ROWS, k]));
  const w = builder.parameter("fc.weight", dense("f32", [n, k]));
  const bias = builder.parameter("fc.bias", dense("f32", [n]));
  const y = builder.one("bit_linear", [x, w, bias], attributes);
  const weighted = builder.one("mul", [y, builder.input("g", dense("f32", [ROWS, n]))], {});
  const sums = builder.one("sum", [weighted], { axis: 1, keep_dims: false });
  builder.output("y", y);
  builder.output("loss", builder.one("sum", [sums], { axis: 0, keep_dims: false }));
  return builder.build();
}

/** [rows, k] times the rows of [n, k]. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, n: number, k: number): number[] {
  return Array.from({ length: (a.length / k) * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a[row * k + i]! * b[column * k + i]!;
    return sum;
  });
}

/** [rows, columns] -> [columns, rows]. */
function transposed(a: ArrayLike<number>, columns: number): number[] {
  const rows = a.length / columns;
  return Array.from({ length: a.length }, (_, at) => a[(at % rows) * columns + Math.floor(at / rows)]!);
}

const mixed = (lambda: number, latent: ArrayLike<number>, quantized: ArrayLike<number>) =>
  Array.from(latent, (value, i) => (1 - lambda) * value + lambda * quantized[i]!);

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

/** The derivative of what an estimator takes the gradient of, by finite differences, at w = alpha v. */
function slope(estimator: Estimator, v: number): number {
  if (estimator === "identity") return 1;
  if (estimator === "clipped") return Math.abs(v) <= 1 ? 1 : 0;
  const { temperature: t } = estimator;
  const soft = (x: number) => logistic(t * (x - 0.5)) + logistic(t * (x + 0.5)) - 1;
  return (soft(v + 1e-5) - soft(v - 1e-5)) / 2e-5;
}

const lambdas = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }).map(Math.fround));
const cases = fc.record({
  seed: fc.integer(),
  size: fc.constantFrom([7, 12], [4, 64], [1, 5]),
  attributes: fc.record({
    weight_scale: fc.constantFrom("tensor" as const, "row" as const, { group: 5 }),
    activation: fc.constantFrom(
      { bits: 8, granularity: "row" as const },
      { bits: 4, granularity: "tensor" as const },
      null,
    ),
  }),
  estimator: fc.constantFrom<Estimator>("identity", "clipped", { kind: "soft", temperature: 4 }),
});

type Case = typeof cases extends fc.Arbitrary<infer Made> ? Made : never;

/** What a mixed layer is by the contract's quantizers, and its gradients. */
function expected(
  { size, attributes: { weight_scale: scale, activation }, estimator }: Case,
  { x, w, bias, g }: Readonly<Record<"x" | "w" | "bias" | "g", Tensor>>,
  [ofWeights, ofActivations]: readonly [number, number],
): Record<"y" | "dx" | "dw" | "db", Tensor> {
  const [n, k] = size as [number, number];
  const ternary = absmean(toFloat32(w), n, k, scale);
  const groups = ternary.scales!.length / n;
  const alpha = (i: number) => {
    if (scale === "tensor") return ternary.scales![0]!;
    const column = typeof scale === "object" ? Math.floor((i % k) / scale.group) : 0;
    return ternary.scales![Math.floor(i / k) * groups + column]!;
  };
  const codes = activation && quantizeRows(toFloat32(x), k, activation.bits, activation.granularity);
  const rounded = codes
    ? Array.from(codes.codes, (code, i) => code * codes.scales[Math.floor(i / k)]!)
    : toFloat32(x);
  const inputs = mixed(ofActivations, toFloat32(x), rounded);
  const weights = mixed(ofWeights, toFloat32(w), toFloat32(ternary));
  const slopes = Array.from(toFloat32(w), (value, i) => {
    return 1 - ofWeights + ofWeights * slope(estimator, value / alpha(i));
  });
  const gradients = product(transposed(toFloat32(g), n), transposed(inputs, k), k, ROWS);
  return {
    y: tensor(
      "f32",
      [ROWS, n],
      product(inputs, weights, n, k).map((sum, i) => sum + toFloat32(bias)[i % n]!),
    ),
    dx: tensor("f32", [ROWS, k], product(toFloat32(g), transposed(weights, k), k, n)),
    dw: tensor(
      "f32",
      [n, k],
      gradients.map((sum, i) => sum * slopes[i]!),
    ),
    db: tensor(
      "f32",
      [n],
      product(
        transposed(toFloat32(g), n),
        Array.from({ length: ROWS }, () => 1),
        1,
        ROWS,
      ),
    ),
  };
}

function operands(random: Random, [n, k]: readonly number[]) {
  const floats = (...dims: number[]) =>
    tensor(
      "f32",
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.normal()),
    );
  return { x: floats(ROWS, k!), w: floats(n!, k!), bias: floats(n!), g: floats(ROWS, n!) };
}

/** The graph's output and its gradients, lowered as a training is. */
function evaluate(
  graph: Graph,
  given: ReturnType<typeof operands>,
  inputs: Readonly<Record<string, Tensor>>,
) {
  verifyGraph(graph);
  const differentiated = gradient(graph, { loss: "loss" });
  const y = graph.outputs.filter(({ name }) => name === "y");
  const lowered = runForwardPipeline(
    { ...differentiated, outputs: [...y, ...differentiated.outputs] },
    { verify: true },
  );
  const { outputs } = interpret(lowered, {
    inputs: { g: given.g, ...inputs },
    parameters: { x: given.x, "fc.weight": given.w, "fc.bias": given.bias },
  });
  return {
    y: outputs.y!,
    dx: outputs[gradientName("x")]!,
    dw: outputs[gradientName("fc.weight")]!,
    db: outputs[gradientName("fc.bias")]!,
  };
}

function expectClose(received: ReturnType<typeof evaluate>, wanted: ReturnType<typeof expected>): void {
  for (const [name, want] of Object.entries(wanted)) {
    expect(relativeL2(received[name as keyof typeof wanted], want), name).toBeLessThan(1e-5);
  }
}

const scalar = (value: number) => tensor("f32", [], [value]);

describe("by the contract's quantizers", () => {
  propertyTest.prop([cases, lambdas, lambdas], { numRuns: 30 })(
    "mixtures and their gradients",
    (given, ofWeights, ofActivations) => {
      const { seed, size, attributes, estimator } = given;
      const tensors = operands(new Random(seed), size);
      const [n, k] = size as [number, number];
      const graph = mixQuantization(layer(n, k, attributes), {
        estimator,
        lambdas: (path) => (path === "fc" ? { weights: "lambda", activations: "inputs" } : {}),
      });
      const inputs = { lambda: scalar(ofWeights), inputs: scalar(ofActivations) };
      expectClose(evaluate(graph, tensors, inputs), expected(given, tensors, [ofWeights, ofActivations]));
    },
  );

  propertyTest.prop([cases], { numRuns: 20 })(
    "estimators of a layer that is not mixed, whose bits stay",
    (given) => {
      const { seed, size, attributes, estimator } = given;
      const tensors = operands(new Random(seed), size);
      const [n, k] = size as [number, number];
      const before = layer(n, k, attributes);
      const received = evaluate(mixQuantization(before, { estimator }), tensors, {});
      expect(received.y).toEqual(evaluate(before, tensors, {}).y);
      expectClose(received, expected(given, tensors, [1, 1]));
    },
  );
});

describe("noise", () => {
  const [n, k] = [96, 128];
  const random = new Random(3);
  /** What is added to a weight of ones, whose scale is 1. */
  function noise(kind: Noise, lambda: number): Float32Array {
    const builder = new GraphBuilder("noisy");
    const x = builder.input("x", dense("f32", [k, k]));
    const w = builder.parameter("fc.weight", dense("f32", [n, k]));
    builder.output("y", builder.one("bit_linear", [x, w], { weight_scale: "tensor", activation: null }));
    const graph = mixQuantization(builder.build(), { noise: kind, lambdas: both });
    verifyGraph(graph);
    const keys = Int32Array.from({ length: 2 * n + k }, () => random.int(-(2 ** 31), 2 ** 31 - 1));
    const identity = Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0));
    const inputs = {
      x: tensor("f32", [k, k], identity),
      lambda: scalar(lambda),
      [NOISE_KEYS]: tensor("i32", [keys.length], keys),
    };
    const parameters = { "fc.weight": tensor("f32", [n, k], new Float32Array(n * k).fill(1)) };
    const { outputs } = interpret(graph, { inputs, parameters });
    return toFloat32(outputs.y!).map((y) => y - 1);
  }
  const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b) / values.length;
  const moment = (values: Float32Array, power: number) => mean(values.map((value) => value ** power));

  // 12,288 samples: each bound is four to five standard errors.
  test.each([
    ["uniform", 1 / 80],
    ["gaussian", 1 / 48],
  ] as const)("%s: centred, a step's deviation, and the fourth moment of its kind", (kind, fourth) => {
    const values = noise(kind, 0);
    expect(Math.abs(mean(values))).toBeLessThan(0.012);
    expect(Math.abs(moment(values, 2) - 1 / 12)).toBeLessThan(0.005);
    expect(Math.abs(moment(values, 4) / fourth - 1)).toBeLessThan(0.14);
    const largest = Math.max(...values.map(Math.abs));
    expect(largest).toBeGreaterThan(0.499);
    expect(largest).toBeLessThan(kind === "uniform" ? 0.5001 : 1.6);
  });

  test.each(["rows", "columns", "diagonals"])("neighbours along %s are independent", (along) => {
    const values = noise("uniform", 0);
    const distance = { rows: k, columns: 1, diagonals: k + 1 }[along]!;
    const pairs = Array.from(values.subarray(distance), (value, i) => value * values[i]!);
    expect(Math.abs(mean(pairs))).toBeLessThan(0.004);
  });

  test("a share of the latent share, and none where lambda is 1", () => {
    expect(noise("gaussian", 1).every((value) => value === 0)).toBe(true);
    expect(moment(noise("uniform", 0.5), 2)).toBeCloseTo(1 / 48, 2);
  });
});
