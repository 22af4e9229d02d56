/** Losses as graphs: each adds what it compares with as an input, and the output `loss`, f32 []. */
import { BitloomError } from "../../errors/index.ts";
import { makeNode, makeValue } from "../../ir/builder.ts";
import type { Graph, Value } from "../../ir/graph.ts";
import { dense, formatType } from "../../ir/types.ts";
import { positiveNumber } from "../dsl/options.ts";
import { div, max, min, mul, one, sub, toF32, total } from "./expressions.ts";

export interface CrossEntropyOptions {
  /** The output that holds logits, f32 [..., V]. Default `"logits"`. */
  readonly logits?: string;
  /** Targets that count for nothing, as PyTorch's -100, which is the default. */
  readonly ignoreIndex?: number;
}

/**
 * The mean cross-entropy over the rows whose target is not ignored, 0 if all are. The graph's outputs become the
 * loss alone, and it takes one more input: `targets`, i32 of the logits' rows.
 * @throws BitloomError INVALID_GRAPH without such an output; DTYPE_MISMATCH or SHAPE_MISMATCH for what are no logits.
 */
export function crossEntropyLoss(graph: Graph, options: CrossEntropyOptions = {}): Graph {
  const { logits: output = "logits", ignoreIndex = -100 } = options;
  const logits = outputOf(graph, output);
  const targets = newInput(graph, "targets", dense("i32", logits.type.dims.slice(0, -1)));
  const [losses] = makeNode("cross_entropy", [logits, targets], { ignore_index: ignoreIndex }).results;
  const distance = sub(targets, ignoreIndex);
  const counted = toF32(min(max(distance, sub(0, distance)), 1));
  const loss = div(total(losses!), max(total(counted), 1));
  return withLoss(graph, loss, targets);
}

export interface SquaredErrorOptions {
  /** The output that is compared, f32. */
  readonly output: string;
}

/** The mean over all elements of (output - targets)^2; input `targets` has the output's type. */
export function squaredErrorLoss(graph: Graph, options: SquaredErrorOptions): Graph {
  const output = outputOf(graph, options.output);
  const targets = newInput(graph, "targets", output.type);
  const difference = sub(output, targets);
  return withLoss(graph, meanOf(mul(difference, difference)), targets);
}

export interface DistillationOptions {
  /** The output that holds the student's logits, f32 [..., V]. Default `"logits"`. */
  readonly logits?: string;
  /** What both sides' logits are divided by. Default 1. */
  readonly temperature?: number;
}

/**
 * The Kullback-Leibler divergence of the student's distribution from a teacher's (arXiv:1503.02531), mean over rows:
 * T^2 * mean of sum p_t (ln p_t - ln p_s), with p = softmax(logits / T). Input `teacher_logits` has the logits' type.
 */
export function distillationLoss(graph: Graph, options: DistillationOptions = {}): Graph {
  const { logits: output = "logits", temperature = 1 } = options;
  positiveNumber("distillationLoss: temperature", temperature);
  const logits = outputOf(graph, output);
  const teacherLogits = newInput(graph, "teacher_logits", logits.type);
  const [student, teacher] = [logits, teacherLogits].map((x) => mul(x, 1 / temperature)) as [Value, Value];
  return withLoss(graph, mul(divergence(student, teacher), temperature ** 2), teacherLogits);
}

/** The mean over rows of the divergence of softmax(student) from softmax(teacher): sum p_t (ln p_t - ln p_s), f32 []. */
export function divergence(student: Value, teacher: Value): Value {
  const difference = sub(logSoftmax(teacher), logSoftmax(student));
  const product = mul(one("softmax", [teacher], {}), difference);
  return meanOf(one("sum", [product], { axis: -1, keep_dims: false }));
}

function meanOf(x: Value): Value {
  let mean = x;
  while (mean.type.dims.length > 0) mean = one("mean", [mean], { axis: -1, keep_dims: false });
  return mean;
}

/** x - ln sum e^x over the last axis. */
function logSoftmax(x: Value): Value {
  const largest = one("max_reduce", [x], { axis: -1, keep_dims: true });
  const shifted = sub(x, largest);
  const sum = one("sum", [one("exp", [shifted], {})], { axis: -1, keep_dims: true });
  return sub(shifted, one("log", [sum], {}));
}

function withLoss(graph: Graph, loss: Value, ...inputs: readonly Value[]): Graph {
  return { ...graph, inputs: [...graph.inputs, ...inputs], outputs: [{ name: "loss", value: loss }] };
}

function newInput(graph: Graph, name: string, type: Value["type"]): Value {
  if (graph.inputs.some(({ origin }) => origin.kind === "input" && origin.name === name)) {
    throw new BitloomError("INVALID_GRAPH", `the model has an input "${name}" of its own`, {
      hint: "Compute the loss in the model's forward, or rename its input.",
    });
  }
  return makeValue(type, { kind: "input", name }, name);
}

function outputOf(graph: Graph, name: string): Value {
  const value = graph.outputs.find((output) => output.name === name)?.value;
  if (value?.type.dtype === "f32") return value;
  throw new BitloomError("INVALID_GRAPH", `output "${name}" cannot have a loss`, {
    expected: value ? "an f32 output" : `one of ${graph.outputs.map((output) => output.name).join(", ")}`,
    received: value ? formatType(value.type) : name,
  });
}
