/** Attention over caches that get new rows first, as every layer of a language model has it, and near misses. */
import fc from "fast-check";
import type { Graph } from "../../ir/graph.ts";
import { interpret } from "../../ir/interpret.ts";
import { type Tensor, tensor } from "../../ir/tensor.ts";
import { parseGraph } from "../../ir/text/parse.ts";
import { Random } from "./random.ts";
import { randomTensors } from "./random-graph.ts";
import { expectWithin } from "./tolerance.ts";
import type { Trial } from "./trials.ts";

/** What else a graph may have, or have differently. */
export const changes = [
  "nothing",
  "written keys are an output",
  "turned queries are an output",
  "new keys are an output",
  "written keys are read",
  "keys are read as they were",
  "values go elsewhere",
  "values have a product of their own",
  "values are turned keys",
  "values are written over keys",
  "queries turn by another table",
] as const;
export type Change = (typeof changes)[number];

/** What reads the attention. */
export const endings = [
  "output",
  "reshape",
  "quantize",
  "quantize a tensor",
  "quantize and output",
  "rms_norm",
  "softmax",
] as const;
export type Ending = (typeof endings)[number];

export interface CachedAttentionOptions {
  /** Bound of the sequences. */
  readonly batch: number;
  /** Positions of a sequence, or the bound of their symbol. */
  readonly seq: 1 | { readonly max: number };
  readonly together: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly capacity: number;
  readonly change: Change;
  readonly ending: Ending;
}

export const cachedAttentionOptions: fc.Arbitrary<CachedAttentionOptions> = fc.record({
  batch: fc.constantFrom(1, 3),
  seq: fc.oneof({ weight: 2, arbitrary: fc.constant(1 as const) }, fc.constant({ max: 4 })),
  together: fc.constantFrom(1, 2, 3),
  kvHeads: fc.constantFrom(1, 2),
  dim: fc.constantFrom(4, 6, 64),
  capacity: fc.constantFrom(40, 150),
  change: fc.oneof(fc.constant("nothing" as const), fc.constantFrom(...changes)),
  ending: fc.constantFrom(...endings),
});

/** Such a graph on random tensors, to give what the interpreter gives. */
export function cachedAttentionTrial(options: CachedAttentionOptions, seed: number): Trial {
  const graph = cachedAttentionGraph(options);
  const { symbols, ...random } = randomTensors(graph, new Random(seed));
  const bounded = (values: Readonly<Record<string, Tensor>>) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, withinTwo(value)]));
  const tensors = {
    inputs: bounded(random.inputs),
    parameters: bounded(random.parameters),
    states: bounded(random.states),
    symbols: Object.fromEntries(symbols),
  };
  return {
    name: "cached attention",
    graphs: { run: graph },
    runs: [{ entry: "run", tensors }],
    check([received]) {
      const expected = interpret(graph, tensors);
      for (const kind of ["outputs", "states"] as const) {
        for (const [name, want] of Object.entries(expected[kind])) {
          // A value on the border between two codes may get either.
          const allowed = (i: number) => (name === "codes" ? 1 : 2e-5 * (1 + Math.abs(want.data[i]!)));
          expectWithin(received![kind][name]!, want, allowed, name);
        }
      }
    },
  };
}

/** The same with floats between -2 and 2, so that no score leaves all others behind. */
function withinTwo({ type, data }: Tensor): Tensor {
  if (type.dtype !== "f32") return { type, data };
  const values = Array.from(data, (x) => Math.max(-2, Math.min(2, x)));
  return tensor("f32", type.dims, values);
}

export function cachedAttentionGraph(options: CachedAttentionOptions): Graph {
  const { together, kvHeads, dim, capacity, change, ending } = options;
  const heads = together * kvHeads;
  const [width, kvWidth] = [heads * dim, kvHeads * dim];
  const symbols = [`batch <= ${options.batch}`, "slots <= 3"];
  if (options.seq !== 1) symbols.push(`seq <= ${options.seq.max}`);
  const seq = options.seq === 1 ? 1 : "seq";
  const seqDim = options.seq === 1 ? 1 : '"seq"';
  const ofHeads = (count: number) => `f32[batch, ${seq}, ${count}, ${dim}]`;
  const part = (name: string, from: string, start: number, count: number) => `
    %${name}.flat: f32[batch, ${seq}, ${count * dim}] = slice(${from}) {axis = 2, start = ${start}, size = ${count * dim}}
    %${name}: ${ofHeads(count)} = reshape(%${name}.flat) {dims = ["batch", ${seqDim}, ${count}, ${dim}]}`;
  const cache = `f32[slots, ${capacity}, ${kvHeads}, ${dim}]`;
  const elsewhere = change === "values go elsewhere" ? "%elsewhere" : "%positions";
  const queryCos = change === "queries turn by another table" ? "%sin" : "%cos";
  const newValues = change === "values are turned keys" ? "%k.turned" : "%v";
  const valueCache = change === "values are written over keys" ? "%k.next" : "%v.cache";
  const isOwn = change === "values have a product of their own";
  const more: Partial<Record<Change, readonly [line: string, output: string]>> = {
    "written keys are an output": ["", "keys = %k.next"],
    "turned queries are an output": ["", "queries = %q.turned"],
    "new keys are an output": ["", "new_keys = %k.turned"],
    "written keys are read": [`%read: ${cache} = relu(%k.next)`, "read = %read"],
    "keys are read as they were": [`%before: ${cache} = relu(%k.cache)`, "before = %before"],
  };
  const [line = "", output = undefined] = more[change] ?? [];
  const tail = tailOf(ending, seq, seqDim, width);
  const outputs = [...tail.outputs, ...(output ? [output] : [])];
  return parseGraph(`graph @g(${symbols.join(", ")}) {
    %x: input f32[batch, ${seq}, ${width + 2 * kvWidth}]
    ${isOwn ? `%x.v: input f32[batch, ${seq}, ${width + 2 * kvWidth}]` : ""}
    %slots: input i32[batch]
    %positions: input i32[batch]
    ${change === "values go elsewhere" ? "%elsewhere: input i32[batch]" : ""}
    %cos: parameter "cos" f32[${capacity}, ${dim / 2}]
    %sin: parameter "sin" f32[${capacity}, ${dim / 2}]
    %g: parameter "g" f32[${width}]
    %k.cache: state "k" ${cache}
    %v.cache: state "v" ${cache}
    %y: f32[batch, ${seq}, ${width + 2 * kvWidth}] = neg(%x)
    ${part("q", "%y", 0, heads)}
    %q.turned: ${ofHeads(heads)} = rope(%q, ${queryCos}, %sin, %positions)
    ${part("k", "%y", width, kvHeads)}
    %k.turned: ${ofHeads(kvHeads)} = rope(%k, %cos, %sin, %positions)
    %k.next: ${cache} = cache_write(%k.cache, %k.turned, %slots, %positions)
    ${part("v", isOwn ? "%x.v" : "%y", width + kvWidth, kvHeads)}
    %v.next: ${cache} = cache_write(${valueCache}, ${newValues}, %slots, ${elsewhere})
    %a: ${ofHeads(heads)} = attention(%q.turned, %k.next, %v.next, %slots, %positions) {scale = 0.25}
    ${line}
    ${tail.lines.join("\n")}
    next %k.cache = %k.next
    next %v.cache = %v.next
    return ${outputs.join(", ")}
  }`);
}

function tailOf(ending: Ending, seq: 1 | "seq", seqDim: string | number, width: number) {
  const flat = `f32[batch, ${seq}, ${width}]`;
  const reshape = `%flat: ${flat} = reshape(%a) {dims = ["batch", ${seqDim}, ${width}]}`;
  const quantize = (granularity: string, scales: string) =>
    `%codes: i8[batch, ${seq}, ${width}], %d: f32[${scales}], %sums: i32[batch, ${seq}, 1] = quantize(%flat, %g) {bits = 8, granularity = "${granularity}", eps = 0.00001}`;
  switch (ending) {
    case "output":
      return { lines: [], outputs: ["a = %a"] };
    case "reshape":
      return { lines: [reshape], outputs: ["a = %flat"] };
    case "quantize":
      return {
        lines: [reshape, quantize("row", `batch, ${seq}, 1`)],
        outputs: ["codes = %codes", "d = %d"],
      };
    case "quantize a tensor":
      return {
        lines: [reshape, quantize("tensor", `batch, ${seq}, 1`)],
        outputs: ["codes = %codes", "d = %d"],
      };
    case "quantize and output":
      return {
        lines: [reshape, quantize("row", `batch, ${seq}, 1`)],
        outputs: ["codes = %codes", "d = %d", "a = %flat"],
      };
    case "rms_norm":
      return {
        lines: [reshape, `%z: ${flat} = rms_norm(%flat, %g) {eps = 0.00001}`],
        outputs: ["z = %z"],
      };
    case "softmax":
      return { lines: [reshape, `%z: ${flat} = softmax(%flat)`], outputs: ["z = %z"] };
  }
}
