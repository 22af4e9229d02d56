/** How much of quantization there is in each step of a training: lambda, from 0, none, to 1, all of it. */
import { invalidOption, knownOptions, oneOf, positiveInteger } from "../dsl/options.ts";

/** A BitLinear among those of its model that are trained. */
export interface LayerPlace {
  /** Such as `model.layers.0.mlp.down_proj`. */
  readonly path: string;
  /** Its place among them, from the input on. */
  readonly index: number;
  /** How many there are. */
  readonly count: number;
}

/** Of a layer's weights and of its input, each 0..1; a number is both. */
export type Lambda = number | { readonly weights: number; readonly activations: number };

/** The lambda of a layer in a step, counted from 0, of a run of so many steps. */
export type LambdaSchedule = (step: number, steps: number, layer: LayerPlace) => Lambda;

export interface LambdaWarmupOptions {
  /** Steps until lambda is 1. */
  readonly steps: number;
  /** Default `linear`. */
  readonly shape?: "linear" | "cosine";
}

/** From the share of a warm-up that is done, at most 1, to lambda. */
const shapes = {
  linear: (progress: number) => progress,
  cosine: (progress: number) => (1 - Math.cos(Math.PI * progress)) / 2,
} as const;

/**
 * Rises from 0 in the first step to 1 after `steps` steps, alike in all layers: step / steps, or half a cosine of it.
 * @throws BitloomError INVALID_OPTION
 */
export function lambdaWarmup(options: LambdaWarmupOptions): LambdaSchedule {
  knownOptions("lambdaWarmup", options, ["steps", "shape"]);
  const length = positiveInteger("lambdaWarmup: steps", options.steps);
  const shape = shapes[oneOf("lambdaWarmup: shape", options.shape ?? "linear", ["linear", "cosine"])];
  return (step) => shape(Math.min(1, step / length));
}

export interface ProgressiveLayersOptions {
  /** Steps until all layers are quantized. */
  readonly steps: number;
  /** Which layers come first: those next to the input or those next to the output. Default `first`. */
  readonly from?: "first" | "last";
}

/**
 * Quantizes one layer after another, each as a whole: the i-th of n layers from step i / n of `steps` on.
 * @throws BitloomError INVALID_OPTION
 */
export function progressiveLayers(options: ProgressiveLayersOptions): LambdaSchedule {
  knownOptions("progressiveLayers", options, ["steps", "from"]);
  const length = positiveInteger("progressiveLayers: steps", options.steps);
  const from = oneOf("progressiveLayers: from", options.from ?? "first", ["first", "last"]);
  return (step, _steps, { index, count }) => {
    const turn = from === "first" ? index + 1 : count - index;
    return step * count >= turn * length ? 1 : 0;
  };
}

/**
 * Weights as `schedule` has them, which by default is in full, and inputs in full from step `start` on and not before.
 * @throws BitloomError INVALID_OPTION
 */
export function activationsFrom(start: number, schedule: LambdaSchedule = () => 1): LambdaSchedule {
  positiveInteger("activationsFrom: start", start);
  return (step, steps, layer) => {
    const lambda = schedule(step, steps, layer);
    const weights = typeof lambda === "number" ? lambda : lambda.weights;
    return { weights, activations: step < start ? 0 : 1 };
  };
}

let globalWarmup: LambdaSchedule | undefined;
let current = 1;

/**
 * Has trainings that start from now on without a `quantization.lambda` of their own follow a schedule; `undefined` turns it
 * off again, as it is at first.
 * @throws BitloomError INVALID_OPTION
 */
export function setGlobalLambdaWarmup(schedule: LambdaSchedule | undefined): void {
  if (schedule !== undefined && typeof schedule !== "function") {
    throw invalidOption(
      "setGlobalLambdaWarmup",
      "a schedule such as lambdaWarmup({ steps: 1000 })",
      schedule,
    );
  }
  globalWarmup = schedule;
}

export function getGlobalLambdaWarmup(): LambdaSchedule | undefined {
  return globalWarmup;
}

/** The mean lambda, over layers, of the step that `train` did last in this process; 1 before it did any. */
export function getCurrentLambda(): number {
  return current;
}

/** For `train`. */
export function setCurrentLambda(lambda: number): void {
  current = lambda;
}
