/**
 * A step of training as graphs: forward, backward, clipping, update. As one, or as entries that share their states, so
 * that gradients of several calls add up and a loss can be looked at before anything is updated.
 */
import { BitloomError } from "../../errors/index.ts";
import { makeValue } from "../../ir/builder.ts";
import type { Graph, Output, State, Value } from "../../ir/graph.ts";
import { bindParameters } from "../../ir/passes/bind-parameters.ts";
import { gradient, gradientName } from "../../ir/passes/gradient.ts";
import { type MixOptions, mixQuantization } from "../../ir/passes/mix-quantization.ts";
import { lastLogitsGraph, runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { recomputeActivations } from "../../ir/passes/recompute-activations.ts";
import { wholeSequences } from "../../ir/passes/whole-sequences.ts";
import { type RunPassesOptions, rebuild } from "../../ir/rewrite.ts";
import { dense } from "../../ir/types.ts";
import type { ParameterSource } from "../checkpoint/source.ts";
import { storedParameter } from "../compiler/lower.ts";
import type { AnyModel, TraceOptions } from "../dsl/model.ts";
import { positiveNumber } from "../dsl/options.ts";
import { EVALUATION } from "./distillation.ts";
import { add, div, min, mul, sqrt, total } from "./expressions.ts";
import { crossEntropyLoss } from "./loss.ts";
import type { Optimizer, TrainedParameter, UpdateContext } from "./optimizer.ts";

export interface TrainStepOptions {
  readonly optimizer: Optimizer;
  /** The output that is made small, f32 []. Default `"loss"`. */
  readonly loss?: string;
  /** Paths of the parameters that are trained; all by default. The others stay parameters. */
  readonly parameters?: readonly string[];
  /**
   * The step has one more input, `decay_share`, f32 []: what every weight decay is multiplied by. Default false: decays
   * are the same in every step.
   */
  readonly scheduledDecay?: boolean;
  /** Scales gradients down so that their common L2 norm is at most this. Default: never. */
  readonly clipNorm?: number;
  /** Compute activations again for the gradients, which takes less memory and more time. Default false. */
  readonly recompute?: boolean;
  /** How BitLinears are quantized while they are trained. Default: in full, with the identity as the estimator. */
  readonly quantization?: MixOptions;
}

/**
 * From a graph with a loss to the graph of a training step. Trained parameters become states of the same name, latent
 * f32 weights that are quantized anew in every step; what the optimizer keeps is state as well. One more input:
 * `learning_rate`, f32 [], beside those of `mixQuantization`. Outputs: the loss before the update, and `gradient_norm` before clipping, both f32 [].
 * @throws BitloomError as `gradient` does, and INVALID_GRAPH where a name is taken.
 */
export function trainStep(traced: Graph, options: TrainStepOptions): Graph {
  const { graph, parameters, loss } = differentiate(
    mixQuantization(traced, options.quantization ?? {}),
    options,
  );
  const norm = globalNorm(parameters);
  const scheduled = scheduledInputs(options);
  const states = new StepStates(graph);
  updateParameters(states, parameters, { ...options, ...scheduled, norm });
  return states.finish({
    ...graph,
    inputs: [...graph.inputs, ...inputsOf(scheduled)],
    outputs: [loss, { name: "gradient_norm", value: norm }],
  });
}

/** A step of training in parts. All have the trained parameters as states, and `update` what the optimizer keeps. */
export interface TrainingEntries {
  /** The graph's inputs to loss and `gradient_norm`; states `<path>.gradient` become the gradients' share of a step. */
  readonly gradients: Graph;
  /** The same, but the gradients are added to; absent where a step takes one call. */
  readonly accumulate?: Graph;
  /**
   * `gradients` and `accumulate` for steps in which some lambda is below 1: they take lambdas, and keys for noise. Absent
   * where all lambdas are always 1, which the others take them for.
   */
  readonly mixed_gradients?: Graph;
  readonly mixed_accumulate?: Graph;
  /**
   * From `learning_rate` and, where they are asked for, `decay_share` and the `gradient_norm` to clip by, all f32 [], to
   * new parameters.
   */
  readonly update: Graph;
  /** The graph's inputs to its loss, or to its output `evaluation` in the place of that, quantized in full. */
  readonly evaluate: Graph;
}

/**
 * `trainStep` in parts: `gradients`, then `accumulate` for all further calls of a step, and `update`.
 * @param accumulation calls that make one step, each with the same weight
 * @throws BitloomError as `trainStep`
 */
export function trainingEntries(
  traced: Graph,
  accumulation: number,
  options: TrainStepOptions,
): TrainingEntries {
  const { clipNorm, quantization = {} } = options;
  const { estimator = "identity", lambdas } = quantization;
  const whole = differentiate(mixQuantization(traced, { estimator }), options);
  const { graph, parameters, loss } = whole;
  const { gradients, accumulate } = gradientEntries(whole, accumulation);
  const mixed = lambdas && differentiate(mixQuantization(traced, quantization), options);
  const entriesOfMixed = mixed && gradientEntries(mixed, accumulation);

  const scheduled = scheduledInputs(options);
  const norm = scalarInput("gradient_norm");
  const updated = new StepStates(graph);
  const summed = parameters.map((parameter) => {
    const { path, value } = parameter;
    return { ...parameter, gradient: updated.add(gradientName(path), value.type.dims, (current) => current) };
  });
  updateParameters(updated, summed, { ...options, ...scheduled, norm });
  const inputs = [...inputsOf(scheduled), ...(clipNorm === undefined ? [] : [norm])];

  const judged = graph.outputs.find(({ name }) => name === EVALUATION);
  const evaluated = new StepStates(graph);
  for (const { path, value } of parameters) evaluated.train(path, value, value);
  return {
    gradients,
    ...(accumulate && { accumulate }),
    ...(entriesOfMixed && { mixed_gradients: entriesOfMixed.gradients }),
    ...(entriesOfMixed?.accumulate && { mixed_accumulate: entriesOfMixed.accumulate }),
    update: updated.finish({ ...graph, symbols: new Map(), inputs, outputs: [] }),
    evaluate: evaluated.finish({
      ...graph,
      outputs: [{ name: loss.name, value: judged?.value ?? loss.value }],
    }),
  };
}

/**
 * What a language model predicts while it is trained: from tokens i32 [batch, seq] to `logits` after the last of them,
 * f32 [batch, V].
 * @param graph the model on whole sequences, before a loss is made of its logits
 * @param evaluate the training's entry, whose states are read
 */
export function predictGraph(graph: Graph, { states: trained }: Graph): Graph {
  const last = lastLogitsGraph(graph);
  const states = new StepStates(last);
  const names = new Set(trained.map(({ value }) => value.name));
  for (const parameter of last.parameters) {
    const path = pathOf(parameter);
    if (names.has(path)) states.train(path, parameter, parameter);
  }
  return states.finish(last);
}

/** What computes loss and gradients in the first call of a step, and in all further ones. */
function gradientEntries(
  { graph, parameters, loss }: DifferentiatedGraph,
  accumulation: number,
): Pick<TrainingEntries, "gradients" | "accumulate"> {
  const keeping = (keep: (current: Value, share: Value) => Value): Graph => {
    const states = new StepStates(graph);
    const kept = parameters.map((parameter) => {
      const { path, value, gradient: own } = parameter;
      states.train(path, value, value);
      const share = accumulation === 1 ? own : mul(own, 1 / accumulation);
      const next = states.add(gradientName(path), value.type.dims, (current) => keep(current, share));
      return { ...parameter, gradient: next };
    });
    const norm = { name: "gradient_norm", value: globalNorm(kept) };
    return states.finish({ ...graph, outputs: [loss, norm] });
  };
  return {
    gradients: keeping((_current, share) => share),
    ...(accumulation > 1 && { accumulate: keeping(add) }),
  };
}

/** A graph with its loss, and the trained parameters with their gradients. */
interface DifferentiatedGraph {
  readonly graph: Graph;
  readonly loss: Output;
  readonly parameters: readonly TrainedParameter[];
}

function differentiate(
  graph: Graph,
  { loss = "loss", parameters, clipNorm, recompute = false }: TrainStepOptions,
): DifferentiatedGraph {
  if (clipNorm !== undefined) positiveNumber("trainStep: clipNorm", clipNorm);
  const withGradients = gradient(graph, { loss, ...(parameters && { parameters }) });
  const { outputs } = recompute ? recomputeActivations(withGradients, { loss }) : withGradients;
  const values = new Map(outputs.map(({ name, value }) => [name, value]));
  const trained = graph.parameters.flatMap((value): TrainedParameter[] => {
    const path = pathOf(value);
    const own = values.get(gradientName(path));
    return own ? [{ path, value, gradient: own }] : [];
  });
  if (trained.length === 0) {
    throw new BitloomError("INVALID_GRAPH", `${graph.name} has nothing to train`, {
      expected: "at least one dense parameter of f32",
      hint: "Packed ternary weights cannot be trained: start from latent ones.",
    });
  }
  return { graph, loss: { name: loss, value: values.get(loss)! }, parameters: trained };
}

/** Has the optimizer make each parameter's next value from its gradient, clipped by the common norm. */
function updateParameters(
  states: StepStates,
  parameters: readonly TrainedParameter[],
  how: Pick<TrainStepOptions, "optimizer" | "clipNorm"> & ScheduledInputs & { readonly norm: Value },
): void {
  const { optimizer, clipNorm, norm, learningRate, decayShare } = how;
  // PyTorch's clip_grad_norm_ has the same 1e-6.
  const scale = clipNorm === undefined ? undefined : min(div(clipNorm, add(norm, 1e-6)), 1);
  const update = optimizer.begin({ learningRate, decayShare, state: (...args) => states.add(...args) });
  for (const { path, value, gradient: own } of parameters) {
    const next = update({ path, value, gradient: scale ? mul(own, scale) : own });
    states.train(path, value, next);
  }
}

type ScheduledInputs = Pick<UpdateContext, "learningRate" | "decayShare">;

/** The scalars that an update is given anew in each step. */
function scheduledInputs({ scheduledDecay = false }: TrainStepOptions): ScheduledInputs {
  return {
    learningRate: scalarInput("learning_rate"),
    decayShare: scheduledDecay ? scalarInput("decay_share") : undefined,
  };
}

function inputsOf({ learningRate, decayShare }: ScheduledInputs): readonly Value[] {
  return decayShare === undefined ? [learningRate] : [learningRate, decayShare];
}

function scalarInput(name: string): Value {
  return makeValue(dense("f32", []), { kind: "input", name }, name);
}

function globalNorm(parameters: readonly TrainedParameter[]): Value {
  const squares = parameters.map(({ gradient: own }) => total(mul(own, own)));
  return sqrt(squares.reduce((a, b) => add(a, b)));
}

/** The states of a training step, under construction. */
class StepStates {
  readonly #graph: Graph;
  readonly #states: State[];
  readonly #trained = new Map<Value, Value>();
  readonly #names = new Set<string>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#states = [...graph.states];
    for (const { value } of graph.states)
      this.#names.add(value.origin.kind === "state" ? value.origin.name : "");
  }

  add(...[name, dims, next]: Parameters<UpdateContext["state"]>): Value {
    const value = this.#make(name, dims);
    const updated = next(value);
    this.#states.push({ value, next: updated });
    return updated;
  }

  train(path: string, parameter: Value, next: Value): void {
    this.#trained.set(parameter, this.#make(path, parameter.type.dims));
    this.#states.push({ value: parameter, next });
  }

  /** The graph with trained parameters as states. */
  finish(graph: Graph): Graph {
    const rebuilt = rebuild(
      { ...graph, states: this.#states },
      { leaf: (value) => this.#trained.get(value) ?? value },
    );
    const parameters = this.#graph.parameters.filter((parameter) => !this.#trained.has(parameter));
    return { ...rebuilt, parameters };
  }

  #make(name: string, dims: Value["type"]["dims"]): Value {
    if (this.#names.has(name)) {
      throw new BitloomError("INVALID_GRAPH", `there would be two states called ${JSON.stringify(name)}`, {
        hint: "Rename the model's own state, or the layer whose parameters the optimizer keeps states for.",
      });
    }
    this.#names.add(name);
    return makeValue(dense("f32", dims), { kind: "state", name }, name);
  }
}

function pathOf({ origin }: Value): string {
  return origin.kind === "parameter" ? origin.path : "";
}

export interface TrainingGraphOptions extends Omit<TrainStepOptions, "loss"> {
  /**
   * Makes the graph whose output `loss` is trained on. By default mean cross-entropy for a language model; any other
   * model computes its own output `loss`.
   */
  readonly loss?: (graph: Graph) => Graph;
  /** Bounds over the model's own: sequences and tokens of one step. */
  readonly symbols?: NonNullable<TraceOptions["symbols"]>;
  /** Where the parameters lie that are not trained: the graph has them in the form that they are stored in. */
  readonly weights?: Pick<ParameterSource, "info" | "location">;
  readonly verify?: RunPassesOptions["verify"];
}

/**
 * A described model's training step, ready to be scheduled: tokens i32 [batch, seq], targets i32 [batch, seq] and the
 * learning rate in, loss and gradient norm out, for a language model on whole sequences.
 * @throws BitloomError of the model's description, and as `trainStep` does.
 */
export function trainingGraph(model: AnyModel, options: TrainingGraphOptions): Graph {
  const { verify } = options;
  const step = trainStep(lossGraph(model, options), stepOptions(options));
  return runForwardPipeline(step, verify === undefined ? {} : { verify });
}

/** What of a training is for the step, once it has a loss. */
export function stepOptions<Options extends Omit<TrainingGraphOptions, "recompute">>(
  options: Options,
): Omit<Options, "loss" | "symbols" | "weights" | "verify"> {
  const { loss: _loss, symbols: _symbols, weights: _weights, verify: _verify, ...step } = options;
  return step;
}

/**
 * A described model with the loss it is trained on: a language model's on whole sequences.
 * @throws BitloomError of the model's description, and MISSING_TENSOR or SHAPE_MISMATCH of `weights`
 */
export function lossGraph(
  model: AnyModel,
  {
    loss,
    symbols,
    parameters,
    weights,
  }: Pick<TrainingGraphOptions, "loss" | "symbols" | "parameters" | "weights">,
): Graph {
  const traced = wholeSequences.run(model.trace(symbols ? { symbols } : {}));
  const withLoss = loss ?? (model.kind === "language-model" ? crossEntropyLoss : (graph: Graph) => graph);
  const graph = withLoss(traced);
  return parameters && weights ? bindFrozen(graph, new Set(parameters), weights) : graph;
}

/** Gives what is not trained the form it is stored in: what is ternary there is not quantized in each step. */
function bindFrozen(
  graph: Graph,
  trained: ReadonlySet<string>,
  weights: Pick<ParameterSource, "info" | "location">,
): Graph {
  const own = new Map(graph.parameters.map((value) => [pathOf(value), value.type.dims as readonly number[]]));
  const { location } = weights;
  return bindParameters(
    graph,
    (path) =>
      trained.has(path)
        ? { dims: own.get(path)!, form: { kind: "dense", dtype: "f32" } }
        : storedParameter(weights.info(path)),
    { location },
  );
}
