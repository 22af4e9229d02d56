import type { LayerLambdas, MixOptions } from "../../ir/passes/mix-quantization.ts";
import type { Estimator, Noise } from "../../ir/passes/mixture.ts";
import type { ParameterDeclaration } from "../dsl/layer.ts";
import { checkOptions, hintOf, invalidOption } from "../dsl/options.ts";
import { getGlobalLambdaWarmup, type LambdaSchedule, type LayerPlace } from "./lambda.ts";
import { STEPS_COUNT } from "./learning-rate.ts";
import { quantizationRows } from "./training-options.ts";

/** How a training quantizes. What is saved, and what held-out text is evaluated with, is quantized in full. */
export interface QuantizationOptions {
  /**
   * How much of quantization there is in each step. While it is below 1 anywhere, steps compute with floats and cost
   * accordingly; from then on they are those of a training without. Default: that of `setGlobalLambdaWarmup` when the
   * training starts, or 1.
   */
  readonly lambda?: LambdaSchedule;
  /**
   * Schedules, or constants, of single layers in place of `lambda`: by path, such as `model.layers.0.mlp.down_proj`, or by
   * that of what they are part of, such as `model.layers.0`. The longest path counts.
   */
  readonly layers?: Readonly<Record<string, LambdaSchedule | number>>;
  /** How gradients go through the weights' quantizer; `"soft"` has temperature 4. Default `"identity"`. */
  readonly ste?: Estimator | "soft";
  /** Noise in place of rounding, in the share of the weights that is not quantized yet. Default: none. */
  readonly noise?: Noise;
  /** Layers of a family that are no BitLinear at all, by path; the saved model has them as ordinary linears too. */
  readonly off?: (path: string) => boolean;
}

/** Options that are in order. */
export interface CheckedQuantization {
  /** Undefined: what the global warm-up is when the training starts. */
  readonly lambda: LambdaSchedule | undefined;
  /** The longest path first. */
  readonly layers: readonly { readonly part: string; readonly schedule: LambdaSchedule }[];
  readonly estimator: Estimator;
  readonly noise: Noise | undefined;
  readonly off: QuantizationOptions["off"];
}

/** How the trained layers of a run are quantized. */
export interface TrainedQuantization {
  /** For `mixQuantization`. */
  readonly mix: MixOptions;
  /** Undefined where all lambdas are 1. */
  readonly lambdas: LambdaCourses | undefined;
}

/** The lambdas of a run as data. */
export interface LambdaCourses {
  /** Scalar inputs of the entries that mix, by name, with their value in each step. Layers of one course share one. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** The mean over weights and inputs of all layers in each step. */
  readonly mean: readonly number[];
}

const layersHint = hintOf("layers", quantizationRows.layers);
const SOFT: Estimator = { kind: "soft", temperature: 4 };

/** @throws BitloomError INVALID_OPTION naming the option */
export function checkQuantization(options: QuantizationOptions): CheckedQuantization {
  checkOptions(options, quantizationRows, "quantization");
  const { lambda, layers = {}, ste = "identity", noise, off } = options;
  const own = Object.entries(layers).map(([part, schedule]) => {
    if (typeof schedule === "number") return { part, schedule: () => schedule };
    if (typeof schedule === "function") return { part, schedule };
    const expected = "a number in 0..1, or a schedule such as lambdaWarmup({ steps: 1000 })";
    throw invalidOption(`quantization: layers["${part}"]`, expected, schedule, layersHint);
  });
  own.sort((a, b) => b.part.length - a.part.length);
  return { lambda, layers: own, estimator: ste === "soft" ? SOFT : ste, noise, off };
}

/**
 * Works out the lambdas of each layer in each step of a run. Layers whose weights are frozen are quantized in full.
 * @param trained the parameters that are trained
 * @throws BitloomError INVALID_OPTION for a lambda outside of 0..1, a schedule for a layer there is not, and noise that
 *   would have no share of any weight
 */
export function planQuantization(
  { lambda = getGlobalLambdaWarmup() ?? (() => 1), layers: own, estimator, noise }: CheckedQuantization,
  trained: readonly Pick<ParameterDeclaration, "path" | "kind">[],
  steps: number,
): TrainedQuantization {
  const weights = trained.filter(({ kind }) => kind === "bitLinear");
  const paths = weights.map(({ path }) => path.replace(/\.weight$/, ""));
  const unknown = own.find(({ part }) => !paths.some((path) => contains(part, path)));
  if (unknown) {
    const expected = `the path of a BitLinear that is trained, or of what it is part of: ${someOf(paths)}`;
    throw invalidOption(`quantization: layers["${unknown.part}"]`, expected, unknown.part, layersHint);
  }
  const courses = new Courses(steps);
  const layers = new Map(
    paths.map((path, index) => {
      const schedule = own.find(({ part }) => contains(part, path))?.schedule ?? lambda;
      return [path, courses.add(schedule, { path, index, count: paths.length })];
    }),
  );
  if (noise && ![...layers.values()].some((layer) => layer.weights !== undefined)) {
    throw invalidOption(
      "quantization: noise",
      "none where lambda is 1, for it has the share that is left",
      noise,
    );
  }
  const lambdas = courses.courses();
  const mix = { estimator, noise, ...(lambdas && { lambdas: (path: string) => layers.get(path) ?? {} }) };
  return { mix, lambdas };
}

/** Paths as an error names them: a few of many. */
export function someOf(paths: readonly string[]): string {
  if (paths.length === 0) return "there is none";
  return `${paths.slice(0, 3).join(", ")}${paths.length > 3 ? `, … (${paths.length})` : ""}`;
}

function contains(part: string, path: string): boolean {
  return path === part || path.startsWith(`${part}.`);
}

/** The distinct courses of lambda over a run. */
class Courses {
  readonly #steps: number;
  readonly #distinct: { readonly name: string; readonly values: Float32Array }[] = [];
  readonly #sums: Float64Array;
  #count = 0;

  constructor(steps: number) {
    this.#steps = steps;
    this.#sums = new Float64Array(steps);
  }

  add(schedule: LambdaSchedule, layer: LayerPlace): LayerLambdas {
    const [weights, activations] = [new Float32Array(this.#steps), new Float32Array(this.#steps)];
    for (let step = 0; step < this.#steps; step++) {
      const lambda = schedule(step, this.#steps, layer);
      const both = typeof lambda === "number" ? { weights: lambda, activations: lambda } : lambda;
      weights[step] = checked(both?.weights, step, layer);
      activations[step] = checked(both?.activations, step, layer);
    }
    return { weights: this.#nameOf(weights), activations: this.#nameOf(activations) };
  }

  courses(): LambdaCourses | undefined {
    if (this.#distinct.length === 0) return undefined;
    const inputs = Object.fromEntries(this.#distinct.map(({ name, values }) => [name, [...values]]));
    return { inputs, mean: Array.from(this.#sums, (sum) => sum / this.#count) };
  }

  /** `lambda`, `lambda.2`, …; undefined for what is always 1. */
  #nameOf(values: Float32Array): string | undefined {
    this.#count++;
    for (const [step, value] of values.entries()) this.#sums[step]! += value;
    if (values.every((value) => value === 1)) return undefined;
    const known = this.#distinct.find((other) => other.values.every((value, step) => value === values[step]));
    if (known) return known.name;
    const name = this.#distinct.length === 0 ? "lambda" : `lambda.${this.#distinct.length + 1}`;
    this.#distinct.push({ name, values });
    return name;
  }
}

function checked(lambda: unknown, step: number, { path }: LayerPlace): number {
  if (typeof lambda === "number" && lambda >= 0 && lambda <= 1) return lambda;
  throw invalidOption(`lambda of ${path} in step ${step + 1}`, "a number in 0..1", lambda, STEPS_COUNT);
}
