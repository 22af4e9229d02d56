/** One step of training as one graph: forward, backward, clipping, update. */
import { BitloomError } from "../../errors/index.ts";
import { makeValue } from "../../ir/builder.ts";
import type { Graph, State, Value } from "../../ir/graph.ts";
import { gradient, gradientName } from "../../ir/passes/gradient.ts";
import { runForwardPipeline } from "../../ir/passes/pipelines.ts";
import { wholeSequences } from "../../ir/passes/whole-sequences.ts";
import { type RunPassesOptions, rebuild } from "../../ir/rewrite.ts";
import { dense } from "../../ir/types.ts";
import type { AnyModel, TraceOptions } from "../dsl/model.ts";
import { positiveNumber } from "../dsl/options.ts";
import { add, div, min, mul, sqrt, total } from "./expressions.ts";
import { crossEntropyLoss } from "./loss.ts";
import type { Optimizer, TrainedParameter, UpdateContext } from "./optimizer.ts";

export interface TrainStepOptions {
  readonly optimizer: Optimizer;
  /** The output that is made small, f32 []. Default `"loss"`. */
  readonly loss?: string;
  /** Paths of the parameters that are trained; all by default. The others stay parameters. */
  readonly parameters?: readonly string[];
  /** Scales gradients down so that their common L2 norm is at most this. Default: never. */
  readonly clipNorm?: number;
}

/**
 * From a graph with a loss to the graph of a training step. Trained parameters become states of the same name, latent
 * f32 weights that are quantized anew in every step; what the optimizer keeps is state as well. One more input:
 * `learning_rate`, f32 []. Outputs: the loss before the update, and `gradient_norm` before clipping, both f32 [].
 * @throws BitloomError as `gradient` does, and INVALID_GRAPH where a name is taken.
 */
export function trainStep(graph: Graph, options: TrainStepOptions): Graph {
  const { optimizer, loss = "loss", parameters, clipNorm } = options;
  if (clipNorm !== undefined) positiveNumber("trainStep: clipNorm", clipNorm);
  const differentiated = gradient(graph, { loss, ...(parameters && { parameters }) });
  const outputs = new Map(differentiated.outputs.map(({ name, value }) => [name, value]));
  const all = graph.parameters.flatMap((value): TrainedParameter[] => {
    const path = pathOf(value);
    const own = outputs.get(gradientName(path));
    return own ? [{ path, value, gradient: own }] : [];
  });
  if (all.length === 0) {
    throw new BitloomError("INVALID_GRAPH", `${graph.name} has nothing to train`, {
      expected: "at least one dense parameter of f32",
      hint: "Packed ternary weights cannot be trained: start from latent ones.",
    });
  }
  const norm = globalNorm(all);
  // PyTorch's clip_grad_norm_ has the same 1e-6.
  const scale = clipNorm === undefined ? undefined : min(div(clipNorm, add(norm, 1e-6)), 1);
  const learningRate = makeValue(dense("f32", []), { kind: "input", name: "learning_rate" }, "learning_rate");
  const states = new StepStates(graph);
  const update = optimizer.begin({ learningRate, state: (...args) => states.add(...args) });
  for (const { path, value, gradient: own } of all) {
    const next = update({ path, value, gradient: scale ? mul(own, scale) : own });
    states.train(path, value, next);
  }
  return states.finish({
    ...differentiated,
    inputs: [...graph.inputs, learningRate],
    outputs: [
      { name: loss, value: outputs.get(loss)! },
      { name: "gradient_norm", value: norm },
    ],
  });
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
  readonly verify?: RunPassesOptions["verify"];
}

/**
 * A described model's training step, ready to be scheduled: tokens i32 [batch, seq], targets i32 [batch, seq] and the
 * learning rate in, loss and gradient norm out, for a language model on whole sequences.
 * @throws BitloomError of the model's description, and as `trainStep` does.
 */
export function trainingGraph(model: AnyModel, options: TrainingGraphOptions): Graph {
  const { loss, symbols, verify, ...step } = options;
  const traced = wholeSequences.run(model.trace(symbols ? { symbols } : {}));
  const withLoss = loss ?? (model.kind === "language-model" ? crossEntropyLoss : (graph: Graph) => graph);
  return runForwardPipeline(trainStep(withLoss(traced), step), verify === undefined ? {} : { verify });
}
