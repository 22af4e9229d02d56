import { expect } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import { type InterpretResult, interpret } from "../../ir/interpret.ts";
import { type Pass, runPasses } from "../../ir/rewrite.ts";
import { bf16ToF32, f16ToF32, f32Bits, type Tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { printGraph } from "../../ir/text/print.ts";
import { Random } from "./random.ts";
import { randomTensors } from "./random-graph.ts";

/** Bit patterns, every NaN alike: what a pass may not change. */
function bitsOf({ type, data }: Tensor): readonly unknown[] {
  const widen = type.dtype === "f16" ? f16ToF32 : type.dtype === "bf16" ? bf16ToF32 : Number;
  const float = data instanceof Float32Array;
  const bits = Array.from(data, (value) =>
    Number.isNaN(widen(value)) ? "nan" : float ? f32Bits(value) : value,
  );
  return [type.dtype, type.dims, bits];
}

function resultBits({ outputs, states }: InterpretResult) {
  const bits = (tensors: Readonly<Record<string, Tensor>>) =>
    Object.fromEntries(Object.entries(tensors).map(([name, value]) => [name, bitsOf(value)]));
  return { outputs: bits(outputs), states: bits(states) };
}

/** Expects both graphs to compute the same bits from the same random tensors; `given` fixes symbols. */
export function expectSameMeaning(
  before: Graph,
  after: Graph,
  seed: number,
  given?: Readonly<Record<string, number>>,
): void {
  const { symbols, ...tensors } = randomTensors(before, new Random(seed), given);
  const run = (graph: Graph) => {
    const own = [...symbols].filter(([name]) => graph.symbols.has(name));
    return resultBits(interpret(graph, { ...tensors, symbols: Object.fromEntries(own) }));
  };
  expect(run(after)).toEqual(run(before));
}

/**
 * The text of a graph after passes: verified after each, and expected to compute the same bits as before, with
 * every symbol at its maximum.
 */
export function textAfter(text: string, ...passes: readonly Pass[]): string {
  const before = parseGraph(text);
  const after = runPasses(before, passes, { verify: true });
  const largest = Object.fromEntries([...before.symbols].map(([name, { max }]) => [name, max]));
  for (const seed of [1, 2, 3]) expectSameMeaning(before, after, seed, largest);
  return printGraph(after);
}
