import { BitloomError } from "../../../errors/index.ts";
import { producer, type Value } from "../../../ir/graph.ts";
import { SCALE_FLOOR } from "../../../ir/index.ts";
import { interpret } from "../../../ir/interpret.ts";
import { type ConcreteType, encodedTensor, sizeOf, type Tensor, toFloat32 } from "../../../ir/tensor.ts";
import { formatType, scaleCount } from "../../../ir/types.ts";
import { nonFiniteWeight } from "../../checkpoint/float-bits.ts";
import {
  type ParameterInfo,
  type ParameterSource,
  requireInfo,
  storedBytes,
} from "../../checkpoint/source.ts";

/** Elements that all tensors of one evaluation may have together: the interpreter is slow and holds them all. */
export const MAX_INTERPRETED_ELEMENTS = 2 ** 25;

/**
 * Evaluates a build-time value with the reference interpreter: for small things without a streamed form, such
 * as RoPE tables. Throws LIMIT_EXCEEDED, and INVALID_WEIGHTS for parameters that are not finite.
 */
export async function evaluate(value: Value, source: ParameterSource): Promise<Tensor> {
  const { parameters, elements } = closure(value);
  if (elements > MAX_INTERPRETED_ELEMENTS) {
    throw new BitloomError("LIMIT_EXCEEDED", `A weight is computed in a way that is not streamed`, {
      expected: `at most ${MAX_INTERPRETED_ELEMENTS} elements`,
      received: `${elements} elements for ${formatType(value.type)} by ${producer(value)?.op}`,
      hint: "Use parameters directly: weights are packed as stored, cast, quantized or stacked along their rows.",
    });
  }
  const tensors = new Map<string, Tensor>();
  for (const parameter of parameters) {
    if (parameter.origin.kind !== "parameter") continue;
    tensors.set(parameter.origin.path, await load(parameter, parameter.origin.path, source));
  }
  const graph = {
    name: "prepare",
    symbols: new Map(),
    inputs: [],
    parameters,
    states: [],
    outputs: [{ name: "value", value }],
  };
  return interpret(graph, { inputs: {}, parameters: tensors }).outputs.value!;
}

/** The parameters a value depends on, and the elements of everything on the way. */
function closure(value: Value): { parameters: Value[]; elements: number } {
  const seen = new Set<Value>([value]);
  const parameters: Value[] = [];
  let elements = 0;
  for (const each of seen) {
    elements += sizeOf(each.type.dims as readonly number[]);
    if (each.origin.kind === "parameter") parameters.push(each);
    for (const operand of producer(each)?.operands ?? []) seen.add(operand);
  }
  return { parameters, elements };
}

async function load(parameter: Value, path: string, source: ParameterSource): Promise<Tensor> {
  const info = requireInfo(source, path);
  const bytes = new Uint8Array(storedBytes(info));
  await source.read(path, 0, bytes);
  const type = parameter.type as ConcreteType;
  if (info.form.kind === "ternary-packed") return unpack(type, bytes, info, info.form.scale);
  const data = info.form.dtype === "f32" ? new Float32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  const values = toFloat32({ type: { dtype: info.form.dtype, dims: info.dims }, data });
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw nonFiniteWeight(path, bad, info.dims, values[bad]!);
  return type.encoding === undefined ? { type, data } : codesOf(type, values);
}

/** Weights that are already 0 or +-scale, as codes and scales. */
function codesOf(type: ConcreteType, values: Float32Array): Tensor {
  const [n, k] = type.dims as [number, number];
  const granularity = type.encoding!.scale;
  const group = typeof granularity === "object" ? granularity.group : k;
  const groups = Math.ceil(k / group);
  const scales = new Float32Array(scaleCount(granularity, n, k));
  for (const [i, value] of values.entries()) {
    const at = Math.floor(i / k) * groups + Math.floor((i % k) / group);
    scales[at] = Math.max(scales[at]!, Math.abs(value));
  }
  return encodedTensor(
    type,
    Int8Array.from(values, Math.sign),
    scales.map((scale) => scale || SCALE_FLOOR),
  );
}

function unpack(type: ConcreteType, bytes: Uint8Array, { dims }: ParameterInfo, scale: Float32Array): Tensor {
  const [n, k] = dims as [number, number];
  const field = (n / 4) * k;
  const codes = new Int8Array(n * k);
  for (let i = 0; i < codes.length; i++) {
    codes[i] = ((bytes[i % field]! >> (2 * Math.floor(i / field))) & 3) - 1;
  }
  return encodedTensor(type, codes, scale);
}
