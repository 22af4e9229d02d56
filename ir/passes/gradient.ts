/**
 * gradient: adds the gradients of a scalar output by parameters, in reverse mode over the SSA graph: each node's rule
 * (ir/ops) turns the gradients of its results into those of its operands, and a value that is read twice gets the sum.
 * It runs on a traced graph, before lowering; what the rules make again of the forward computation (quantized weights
 * and activations) is merged with it by common-subexpressions.
 *
 *   %x: input f32[batch, 4]
 *   %w: parameter "fc.weight" f32[2, 4]
 *   %y: f32[batch, 2] = linear(%x, %w)
 *   %r: f32[batch] = sum(%y) {axis = 1, keep_dims = false}
 *   %loss: f32[] = sum(%r) {axis = 0, keep_dims = false}
 *   return loss = %loss
 * gets, among others
 *   %g: f32[batch, 2] = broadcast(%0) {dims = ["batch", 2]}
 *   %d: f32[2, 4] = linear_weight_gradient(%g, %x)
 *   return loss = %loss, "fc.weight.gradient" = %d
 */
import { BitloomError } from "../../errors/index.ts";
import { makeNode } from "../builder.ts";
import { formatLocation, type Graph, type Node, topologicalOrder, type Value } from "../graph.ts";
import type { Differentiated, Emit, Gradient, Op } from "../ops/define.ts";
import { ops } from "../ops/index.ts";
import { derive } from "../rewrite.ts";
import { dense, formatType, sameType, type TensorType } from "../types.ts";

export interface GradientOptions {
  /** The output that is differentiated, f32 []. */
  readonly loss: string;
  /** Paths of the parameters, dense and of floats; all such by default. */
  readonly parameters?: readonly string[];
}

/** The output that holds the gradient by a parameter, f32 of its dims. */
export function gradientName(path: string): string {
  return `${path}.gradient`;
}

/**
 * The graph with the loss and the gradients as its only outputs; inputs, parameters and states stay.
 * @throws BitloomError INVALID_GRAPH for an output or a parameter there is not or that has no gradient,
 *   UNSUPPORTED_OP where the loss depends on a parameter through an op without one.
 */
export function gradient(graph: Graph, options: GradientOptions): Graph {
  const loss = lossOf(graph, options.loss);
  const parameters = parametersOf(graph, options.parameters);
  const gradients = differentiate(graph, loss, parameters);
  const outputs = parameters.map((parameter) => ({
    name: gradientName(pathOf(parameter)),
    value: gradients.get(parameter) ?? zerosLike(parameter),
  }));
  return { ...graph, outputs: [{ name: options.loss, value: loss }, ...outputs] };
}

/** The gradients of a scalar by those of `leaves` that it depends on. */
export function differentiate(
  graph: Graph,
  loss: Value,
  leaves: readonly Value[],
): ReadonlyMap<Value, Value> {
  const order = topologicalOrder(graph);
  const active = activeValues(order, leaves);
  const gradients = new Map<Value, Value>();
  if (!active.has(loss)) return gradients;
  gradients.set(loss, makeNode("constant", [], { value: 1, dtype: "f32" }).results[0]!);
  for (const node of order.reverse()) {
    const own = node.results.map((result) => (active.has(result) ? gradients.get(result) : undefined));
    if (own.every((known) => known === undefined)) continue;
    for (const [i, part] of operandGradients(node, own, active).entries()) {
      const operand = node.operands[i]!;
      if (!part || !active.has(operand)) continue;
      const known = gradients.get(operand);
      gradients.set(operand, known ? derive(node, "add", [known, part], {}).results[0]! : part);
    }
  }
  return gradients;
}

/** What depends on a leaf through ops that let gradients flow. */
function activeValues(order: readonly Node[], leaves: readonly Value[]): ReadonlySet<Value> {
  const active = new Set(leaves);
  for (const node of order) {
    if (ops[node.op].gradient === "zero" || !followed(node).some((operand) => active.has(operand))) continue;
    for (const result of node.results) if (isFloat(result.type)) active.add(result);
  }
  return active;
}

/** The operands that gradients flow to. */
function followed(node: Node): readonly Value[] {
  const { detached = [] }: Op = ops[node.op];
  return node.operands.filter((_, i) => !detached.includes(i));
}

function isFloat({ dtype }: TensorType): boolean {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

function operandGradients(
  node: Node,
  gradients: readonly (Value | undefined)[],
  active: ReadonlySet<Value>,
): readonly (Value | undefined)[] {
  const rule = ops[node.op].gradient as Gradient<unknown>;
  const answer =
    typeof rule === "function"
      ? rule({ ...node, gradients, emit: emitFor(node) } satisfies Differentiated<unknown>)
      : rule;
  if (typeof answer === "string" || "hint" in answer) {
    throw unsupported(node, typeof answer === "string" ? undefined : answer.hint);
  }
  for (const [i, operand] of node.operands.entries()) {
    const part = answer[i];
    if (!part) {
      if (active.has(operand) && followed(node).includes(operand))
        throw unsupported(node, `Its ${operandName(node, i)} is taken for a constant.`);
    } else if (!sameType(part.type, dense("f32", operand.type.dims))) {
      throw new BitloomError("INVALID_GRAPH", `the gradient rule of ${node.op} gives another shape`, {
        expected: formatType(dense("f32", operand.type.dims)),
        received: formatType(part.type),
      });
    }
  }
  return answer;
}

/** Makes nodes that carry the location of the node they are a gradient of. */
function emitFor(node: Node): Emit {
  return {
    one: (op, operands, attributes) => derive(node, op, operands, attributes).results[0]!,
    apply: (op, operands, attributes) => derive(node, op, operands, attributes).results,
  };
}

function operandName(node: Node, index: number): string {
  const names = ops[node.op].operands;
  return names[Math.min(index, names.length - 1)]!.replace(/[?.]+$/, "");
}

function unsupported(node: Node, hint: string | undefined): BitloomError {
  return new BitloomError("UNSUPPORTED_OP", `there is no gradient through this ${node.op}`, {
    received: node.operands.map((operand) => formatType(operand.type)).join(", "),
    ...(hint && { hint }),
    ...(node.location && { location: formatLocation(node.location) }),
  });
}

function lossOf(graph: Graph, name: string): Value {
  const value = graph.outputs.find((output) => output.name === name)?.value;
  if (value && sameType(value.type, dense("f32", []))) return value;
  throw new BitloomError("INVALID_GRAPH", `output "${name}" cannot be differentiated`, {
    expected: value ? "f32[]" : `one of ${graph.outputs.map((output) => output.name).join(", ")}`,
    received: value ? formatType(value.type) : name,
    hint: "A loss is one number: reduce it with sum or mean.",
  });
}

function parametersOf(graph: Graph, paths: readonly string[] | undefined): readonly Value[] {
  const differentiable = ({ type }: Value) => !type.encoding && isFloat(type);
  if (!paths) return graph.parameters.filter(differentiable);
  return paths.map((path) => {
    const parameter = graph.parameters.find((candidate) => pathOf(candidate) === path);
    if (parameter && differentiable(parameter)) return parameter;
    throw new BitloomError("INVALID_GRAPH", `there is no gradient by parameter "${path}"`, {
      expected: "a dense parameter of floats",
      received: parameter ? formatType(parameter.type) : "no such parameter",
    });
  });
}

function pathOf({ origin }: Value): string {
  return origin.kind === "parameter" ? origin.path : "";
}

function zerosLike({ type }: Value): Value {
  const zero = makeNode("constant", [], { value: 0, dtype: "f32" }).results[0]!;
  return makeNode("broadcast", [zero], { dims: [...type.dims] }).results[0]!;
}
