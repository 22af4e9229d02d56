import { afterEach, describe, expect, test } from "vitest";
import {
  activationsFrom,
  getCurrentLambda,
  getGlobalLambdaWarmup,
  type LambdaSchedule,
  lambdaWarmup,
  progressiveLayers,
  setGlobalLambdaWarmup,
} from "./lambda.ts";
import { checkQuantization, planQuantization, type QuantizationOptions } from "./quantization.ts";

const layer = { path: "layers.0.up", index: 0, count: 4 };
const values = (schedule: LambdaSchedule, steps: number, place = layer) =>
  Array.from({ length: steps }, (_, step) => schedule(step, steps, place));

describe("schedules", () => {
  test("a linear warm-up", () => {
    expect(values(lambdaWarmup({ steps: 4 }), 6)).toEqual([0, 0.25, 0.5, 0.75, 1, 1]);
  });

  test("a cosine has the line's middle, and is flat at both ends", () => {
    const [first, second, middle, , , last] = values(
      lambdaWarmup({ steps: 4, shape: "cosine" }),
      6,
    ) as number[];
    expect(first).toBe(0);
    expect(second).toBeCloseTo((1 - Math.SQRT1_2) / 2, 12);
    expect(middle).toBeCloseTo(0.5, 12);
    expect(last).toBe(1);
  });

  test("one layer after the other, from either end", () => {
    const course = (from: "first" | "last", index: number) =>
      values(progressiveLayers({ steps: 4, from }), 5, { ...layer, index, count: 2 });
    expect(course("first", 0)).toEqual([0, 0, 1, 1, 1]);
    expect(course("first", 1)).toEqual([0, 0, 0, 0, 1]);
    expect(course("last", 1)).toEqual(course("first", 0));
    expect(course("last", 0)).toEqual(course("first", 1));
  });

  test("inputs later than weights", () => {
    expect(values(activationsFrom(1, lambdaWarmup({ steps: 2 })), 3)).toEqual([
      { weights: 0, activations: 0 },
      { weights: 0.5, activations: 1 },
      { weights: 1, activations: 1 },
    ]);
  });
});

const parameters = [
  "embed:embedding",
  "layers.0.up:bitLinear",
  "layers.0.down:bitLinear",
  "layers.10.up:bitLinear",
]
  .map((text) => text.split(":") as [string, string])
  .map(([path, kind]) => ({ path: `${path}.weight`, kind: kind as "bitLinear" }));
const plan = (options: QuantizationOptions, steps = 3) =>
  planQuantization(checkQuantization(options), parameters, steps);

describe("the lambdas of a run", () => {
  test("none where quantization is whole", () => {
    expect(plan({}).lambdas).toBeUndefined();
    expect(plan({ lambda: () => 1, layers: { layers: 1 } }).mix.lambdas).toBeUndefined();
  });

  test("layers of one course share an input, and those that are quantized in full have none", () => {
    const { lambdas, mix } = plan({
      lambda: lambdaWarmup({ steps: 2 }),
      layers: { "layers.0": 1, "layers.0.down": activationsFrom(2, () => 0.5) },
    });
    expect(lambdas).toEqual({
      inputs: { lambda: [0.5, 0.5, 0.5], "lambda.2": [0, 0, 1], "lambda.3": [0, 0.5, 1] },
      mean: [2.5 / 6, 3.5 / 6, 5.5 / 6],
    });
    expect(mix.lambdas!("layers.0.up")).toEqual({});
    expect(mix.lambdas!("layers.0.down")).toEqual({ weights: "lambda", activations: "lambda.2" });
    expect(mix.lambdas!("layers.10.up")).toEqual({ weights: "lambda.3", activations: "lambda.3" });
  });

  const named = (part: string) =>
    expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining(part) });
  test.each<[string, object]>([
    ["quantization: lamda", { lamda: 1 }],
    ["quantization: lambda", { lambda: 0.5 }],
    ["quantization: layers", { layers: null }],
    ['quantization: layers["layers.0.up"]', { layers: { "layers.0.up": "linear" } }],
    ['quantization: layers["layers.1"]', { layers: { "layers.1": 1 } }],
    ["quantization: ste", { ste: "hard" }],
    ["quantization: ste", { ste: { kind: "soft", temperature: 0 } }],
    ["quantization: noise", { noise: "white", lambda: () => 0 }],
    ["quantization: noise", { noise: "uniform" }],
    ["quantization: off", { off: ["layers.0"] }],
    ["lambda of layers.0.up in step 3", { lambda: (step: number) => step }],
    ["lambda of layers.0.up in step 1", { lambda: () => undefined }],
  ])("is refused by the name of the option: %s", (name, options) => {
    expect(() => plan(options as QuantizationOptions)).toThrow(named(name));
  });

  test("warm-ups that are none", () => {
    expect(() => lambdaWarmup({ steps: 0 })).toThrow(named("lambdaWarmup: steps"));
    expect(() => lambdaWarmup({ steps: 1, shape: "square" as "linear" })).toThrow(
      named("lambdaWarmup: shape"),
    );
    expect(() => setGlobalLambdaWarmup(3 as unknown as LambdaSchedule)).toThrow(
      named("setGlobalLambdaWarmup"),
    );
  });
});

describe("the global warm-up", () => {
  afterEach(() => setGlobalLambdaWarmup(undefined));

  test("is what trainings without one of their own follow, and off at first", () => {
    expect(getGlobalLambdaWarmup()).toBeUndefined();
    expect(getCurrentLambda()).toBe(1);
    const warmup = lambdaWarmup({ steps: 2 });
    // What counts is what it is when a training starts, not when it was described.
    const described = checkQuantization({});
    const planned = () => planQuantization(described, parameters, 3).lambdas?.mean;
    expect(planned()).toBeUndefined();
    setGlobalLambdaWarmup(warmup);
    expect(getGlobalLambdaWarmup()).toBe(warmup);
    expect(planned()).toEqual([0, 0.5, 1]);
    expect(plan({ lambda: () => 1 }).lambdas).toBeUndefined();
  });
});
