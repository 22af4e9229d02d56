/**
 * bind-parameters: gives every parameter the dims and form a checkpoint stores it in. A model is traced
 * with plain f32 parameters; what the file holds is known only at build. It runs before everything else.
 *
 * - The weight of `linear` and `embedding` keeps its storage dtype; with `head` a weight that is not ternary
 *   is converted to int8, f16, bf16 or f32 at build.
 * - A `bit_linear` weight that the file stores ternary becomes a ternary parameter.
 * - Everything else computes in f32: an f16 or bf16 parameter is followed by a cast.
 *
 *   %e: parameter "embed.weight" f32[32, 8]
 *   %g: parameter "norm.weight" f32[8]
 *   %w: parameter "fc.weight" f32[4, 8]
 *   %x: f32[batch, 8] = embedding(%e, %ids)
 *   %n: f32[batch, 8] = rms_norm(%x, %g) {eps = 0.00001}
 *   %y: f32[batch, 4] = bit_linear(%n, %w) {weight_scale = "tensor", activation = null}
 * becomes, from a file of bf16 and packed ternary weights,
 *   %e: parameter "embed.weight" bf16[32, 8]
 *   %g: parameter "norm.weight" bf16[8]
 *   %w: parameter "fc.weight" f32[4, 8] ternary(tensor)
 *   %x: f32[batch, 8] = embedding(%e, %ids)
 *   %c: f32[8] = cast(%g) {dtype = "f32"}
 *   %n: f32[batch, 8] = rms_norm(%x, %c) {eps = 0.00001}
 *   %y: f32[batch, 4] = bit_linear(%n, %w) {weight_scale = "tensor", activation = null}
 */
import { BitloomError } from "../../errors/index.ts";
import { makeNode } from "../builder.ts";
import type { Graph, Node, Value } from "../graph.ts";
import { rebuild, remake } from "../rewrite.ts";
import { encoded, formatDims, type ScaleGranularity, sameDims, type TensorType } from "../types.ts";
import { deadCode } from "./dead-code.ts";

type FloatDType = "f32" | "f16" | "bf16";

/** How a checkpoint stores a parameter: its logical dims [N, K], and its element type or ternary scale. */
export interface StoredParameter {
  readonly dims: readonly number[];
  readonly form:
    | { readonly kind: "dense"; readonly dtype: FloatDType }
    | { readonly kind: "ternary"; readonly scale: ScaleGranularity };
}

export interface BindOptions {
  /** Where the weights lie, for messages. */
  readonly location?: string | undefined;
  /** What the weights of `linear` and `embedding` that are not ternary are converted to. */
  readonly head?: "int8" | FloatDType;
}

/**
 * @param lookup what the checkpoint holds under a parameter's path; undefined when it has no such tensor.
 * @throws BitloomError MISSING_TENSOR, SHAPE_MISMATCH, or DTYPE_MISMATCH when a ternary weight is read by an
 * operation that needs dense elements.
 */
export function bindParameters(
  graph: Graph,
  lookup: (path: string) => StoredParameter | undefined,
  options: BindOptions = {},
): Graph {
  const used = deadCode.run(graph);
  const stored = new Map(used.parameters.map((parameter) => [parameter, bind(parameter, lookup, options)]));
  const forms = new Forms(options);
  const bound = rebuild(used, {
    // Outputs and next states that are parameters themselves are read as f32 too.
    leaf: (value) => {
      const parameter = stored.get(value);
      return parameter && !parameter.type.encoding ? forms.f32(parameter) : value;
    },
    visit: (node, operands) => bindNode(node, operands, stored, forms),
  });
  return { ...bound, parameters: [...stored.values()] };
}

/** The parameter as the checkpoint stores it. */
function bind(
  parameter: Value,
  lookup: (path: string) => StoredParameter | undefined,
  { location }: BindOptions,
): Value {
  const path = pathOf(parameter);
  const found = lookup(path);
  const place = location === undefined ? {} : { location };
  if (!found) {
    throw new BitloomError("MISSING_TENSOR", `the weights have no tensor for parameter "${path}"`, {
      expected: `"${path}" ${formatDims(parameter.type.dims)}`,
      hint: "A tensor is called by its layer's place in `layers`; rename one of the two.",
      ...place,
    });
  }
  if (!sameDims(found.dims, parameter.type.dims)) {
    throw new BitloomError("SHAPE_MISMATCH", `parameter "${path}" has another shape in the weights`, {
      expected: formatDims(parameter.type.dims),
      received: formatDims(found.dims),
      hint: "Weights of linear layers are [outFeatures, inFeatures]; change the layer's sizes or give its own weights.",
      ...place,
    });
  }
  return { ...parameter, type: storedType(found) };
}

function storedType({ dims, form }: StoredParameter): TensorType {
  return form.kind === "dense"
    ? { dtype: form.dtype, dims }
    : encoded(dims, { kind: "ternary", scale: form.scale });
}

function pathOf(parameter: Value): string {
  return parameter.origin.kind === "parameter" ? parameter.origin.path : "";
}

function bindNode(
  node: Node,
  operands: readonly Value[],
  stored: ReadonlyMap<Value, Value>,
  forms: Forms,
): readonly Value[] | undefined {
  if (!node.operands.some((operand) => stored.has(operand))) return undefined;
  const bound = node.operands.map((operand, i) => {
    const parameter = stored.get(operand);
    if (!parameter) return operands[i]!;
    if (i === storageOperand(node)) return forms.weight(parameter);
    if (!parameter.type.encoding) return forms.f32(parameter);
    if (node.op === "bit_linear" && i === 1) return parameter;
    throw new BitloomError("DTYPE_MISMATCH", `parameter "${pathOf(parameter)}" is stored ternary`, {
      expected: `dense elements, because ${node.op} reads them`,
      received: "ternary codes",
      hint: "Only bitLinear, linear and embedding take ternary weights.",
    });
  });
  if (node.op !== "bit_linear") return remake(node, node.op, bound, node.attributes).results;
  // The file decides how many scales there are.
  const weight_scale = bound[1]!.type.encoding?.scale ?? node.attributes.weight_scale;
  return remake(node, "bit_linear", bound, { ...node.attributes, weight_scale }).results;
}

/** The operand a node reads in whatever form it is stored. */
function storageOperand(node: Node): number | undefined {
  return node.op === "linear" ? 1 : node.op === "embedding" ? 0 : undefined;
}

/** Conversions of bound parameters, each made once, so that a tied weight is stored once. */
class Forms {
  readonly #head: BindOptions["head"];
  readonly #f32 = new Map<Value, Value>();
  readonly #weights = new Map<Value, Value>();

  constructor(options: BindOptions) {
    this.#head = options.head;
  }

  f32(parameter: Value): Value {
    return remembered(this.#f32, parameter, () => castTo(parameter, "f32"));
  }

  weight(parameter: Value): Value {
    const head = this.#head;
    if (parameter.type.encoding || head === undefined) return parameter;
    return remembered(this.#weights, parameter, () =>
      head === "int8" ? makeNode("quantize_int8", [parameter], {}).results[0]! : castTo(parameter, head),
    );
  }
}

function castTo(parameter: Value, dtype: FloatDType): Value {
  return parameter.type.dtype === dtype ? parameter : makeNode("cast", [parameter], { dtype }).results[0]!;
}

function remembered(memory: Map<Value, Value>, key: Value, make: () => Value): Value {
  const value = memory.get(key) ?? make();
  memory.set(key, value);
  return value;
}
