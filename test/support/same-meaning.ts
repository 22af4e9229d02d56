import { expect } from "vitest";
import type { Graph, Value } from "../../ir/graph.ts";
import { type InterpretResult, interpret } from "../../ir/interpret.ts";
import { type Pass, runPasses } from "../../ir/rewrite.ts";
import {
  type ConcreteType,
  encodedTensor,
  f32Bits,
  sizeOf,
  type Tensor,
  type TensorData,
  tensor,
} from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { printGraph } from "../../ir/text/print.ts";
import { scaleCount, substituteDims } from "../../ir/types.ts";

/** A small deterministic generator of uniform numbers in 0..1 (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface GraphTensors {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly parameters: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, Tensor>>;
}

/** Awkward f32 values among ordinary ones: signed zeros, ties, large and tiny numbers. */
const awkward = [0, -0, 1, -1, 0.5, -2.5, 1e-7, -3e4];

/**
 * Tensors for every leaf of a graph, every symbol 2 or its maximum if smaller. Integers are 0 or 1: valid ids,
 * positions and slots.
 */
export function randomTensors(graph: Graph, seed: number): GraphTensors {
  const next = uniform(seed);
  const symbols = new Map([...graph.symbols].map(([name, { max }]) => [name, Math.min(2, max)]));
  const float = () => (next() < 0.1 ? awkward[Math.floor(next() * awkward.length)]! : next() * 4 - 2);
  const make = (value: Value): Tensor => {
    const dims = substituteDims(value.type.dims, symbols) as number[];
    const type: ConcreteType = { ...value.type, dims };
    const size = sizeOf(dims);
    if (type.encoding) {
      const [n = 0, k = 0] = dims;
      const codes = Int8Array.from({ length: size }, () => Math.floor(next() * 3) - 1);
      const scales = Float32Array.from({ length: scaleCount(type.encoding.scale, n, k) }, () => next() + 0.1);
      return encodedTensor(type, codes, scales);
    }
    const integer = type.dtype === "i32" || type.dtype === "i8";
    return tensor(
      type.dtype,
      dims,
      Array.from({ length: size }, integer ? () => Math.floor(next() * 2) : float),
    );
  };
  const named = (values: readonly Value[]) =>
    Object.fromEntries(values.map((value) => [leafName(value), make(value)]));
  return {
    inputs: named(graph.inputs),
    parameters: named(graph.parameters),
    states: named(graph.states.map((state) => state.value)),
  };
}

function leafName({ origin }: Value): string {
  if (origin.kind === "parameter") return origin.path;
  return origin.kind === "node" ? "" : origin.name;
}

/** Bit patterns, every NaN alike: a pass may not change any other bit. */
export function bitsOf(data: TensorData): readonly (number | "nan")[] {
  return Array.from(data, (value) => {
    if (Number.isNaN(value)) return "nan";
    return data instanceof Float32Array ? f32Bits(value) : value;
  });
}

function resultBits(result: InterpretResult) {
  const bits = (tensors: Readonly<Record<string, Tensor>>) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { type, data }]) => [name, [type.dims, bitsOf(data)]]),
    );
  return { outputs: bits(result.outputs), states: bits(result.states) };
}

/** Expects both graphs to compute the same bits from the same random tensors. */
export function expectSameMeaning(before: Graph, after: Graph, seed: number): void {
  const tensors = randomTensors(before, seed);
  expect(resultBits(interpret(after, tensors))).toEqual(resultBits(interpret(before, tensors)));
}

/**
 * The text of a graph after passes: verified after each, and expected to compute the same bits as before.
 */
export function textAfter(text: string, ...passes: readonly Pass[]): string {
  const before = parseGraph(text);
  const after = runPasses(before, passes, { verify: true });
  for (const seed of [1, 2, 3]) expectSameMeaning(before, after, seed);
  return printGraph(after);
}
