/**
 * What a build-time value is made of, as far as it can be streamed: dense parameters, and ternary or int8
 * weights made of them, stacked along their rows. Anything else is left to the interpreter.
 */
import { BitloomError } from "../../../errors/index.ts";
import { producer, type Value } from "../../../ir/graph.ts";
import { formatDims, formatType, type ScaleGranularity, sameDims } from "../../../ir/types.ts";
import { type FloatType, type ParameterSource, requireInfo } from "../../checkpoint/source.ts";

/** A parameter stored as floats. */
export interface DenseParameter {
  readonly path: string;
  readonly dims: readonly number[];
  readonly dtype: FloatType;
}

/** Output rows of a ternary weight that come from one parameter. */
export type TernaryPart = PackedPart | LatentPart;

/** Rows whose codes the file holds. */
export interface PackedPart {
  readonly kind: "packed";
  readonly path: string;
  readonly n: number;
  readonly k: number;
  /** One for all rows, or one a row. */
  readonly scale: Float32Array;
}

/** Rows of floats to be rounded to codes. */
export interface LatentPart {
  readonly kind: "latent";
  readonly parameter: DenseParameter;
  readonly n: number;
  readonly k: number;
  readonly granularity: ScaleGranularity;
  /** The mean of magnitudes; the magnitude of weights that are ternary already; or given, row-major. */
  readonly scale: "absmean" | "magnitude" | Float32Array;
}

/**
 * The parameter whose elements, converted once to the value's dtype, are the value's elements: a parameter,
 * reshaped or cast. Undefined for anything else.
 */
export function denseParameter(value: Value, source: ParameterSource): DenseParameter | undefined {
  if (value.origin.kind === "parameter") return storedFloats(value, value.origin.path, source);
  const node = producer(value);
  const operand = node?.operands[0];
  if (operand === undefined) return undefined;
  if (node?.op === "reshape") return denseParameter(operand, source);
  if (node?.op !== "cast") return undefined;
  const parameter = denseParameter(operand, source);
  // Through a narrower type in between, elements are rounded twice.
  const exact = parameter !== undefined && isExact(parameter.dtype, operand);
  return exact && isFloat(value.type.dtype) ? parameter : undefined;
}

/** `denseParameter`, where the value's elements as f32 are exactly the parameter's. */
function exactParameter(value: Value, source: ParameterSource): DenseParameter | undefined {
  const parameter = denseParameter(value, source);
  return parameter !== undefined && isExact(parameter.dtype, value) ? parameter : undefined;
}

/** The parts of a ternary weight from its first row to its last; undefined if it is made otherwise. */
export function ternaryParts(value: Value, source: ParameterSource): readonly TernaryPart[] | undefined {
  const [n, k] = value.type.dims as [number, number];
  if (value.origin.kind === "parameter") return [storedTernary(value, value.origin.path, source)];
  const node = producer(value);
  if (node?.op === "absmean_quantize") {
    const parameter = exactParameter(node.operands[0]!, source);
    if (parameter === undefined) return undefined;
    return [{ kind: "latent", parameter, n, k, granularity: node.attributes.scale, scale: "absmean" }];
  }
  return node?.op === "concat"
    ? joined(node.operands, (operand) => ternaryParts(operand, source))
    : undefined;
}

/** The parameters that an int8 weight quantizes, from its first row to its last. */
export function int8Parts(value: Value, source: ParameterSource): readonly DenseParameter[] | undefined {
  const node = producer(value);
  if (node?.op === "quantize_int8") {
    const parameter = exactParameter(node.operands[0]!, source);
    return parameter && [parameter];
  }
  return node?.op === "concat" ? joined(node.operands, (operand) => int8Parts(operand, source)) : undefined;
}

function joined<Part>(
  operands: readonly Value[],
  partsOf: (operand: Value) => readonly Part[] | undefined,
): readonly Part[] | undefined {
  const parts = operands.map(partsOf);
  return parts.includes(undefined) ? undefined : parts.flatMap((part) => part!);
}

function storedFloats(value: Value, path: string, source: ParameterSource): DenseParameter | undefined {
  const { dims, form } = checkedInfo(value, path, source);
  if (form.kind !== "dense" || value.type.encoding) return undefined;
  if (form.dtype !== value.type.dtype) throw storedOtherwise(value, path, form.dtype);
  return { path, dims, dtype: form.dtype };
}

function storedTernary(value: Value, path: string, source: ParameterSource): TernaryPart {
  const { dims, form } = checkedInfo(value, path, source);
  const [n, k] = dims as [number, number];
  if (form.kind === "ternary-packed") return { kind: "packed", path, n, k, scale: form.scale };
  const granularity = form.ternary;
  if (granularity === undefined) throw storedOtherwise(value, path, form.dtype);
  const parameter = { path, dims, dtype: form.dtype };
  return { kind: "latent", parameter, n, k, granularity, scale: "magnitude" };
}

function checkedInfo(value: Value, path: string, source: ParameterSource) {
  const info = requireInfo(source, path);
  if (sameDims(info.dims, value.type.dims)) return info;
  throw storedOtherwise(value, path, formatDims(info.dims));
}

function storedOtherwise(value: Value, path: string, received: string): BitloomError {
  return new BitloomError("INVALID_GRAPH", `The graph and the checkpoint disagree about "${path}"`, {
    expected: formatType(value.type),
    received,
    hint: "Build the graph from the same checkpoint as the weights.",
  });
}

function isExact(stored: FloatType, { type }: Value): boolean {
  return type.dtype === "f32" || type.dtype === stored;
}

function isFloat(dtype: string): dtype is FloatType {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}
