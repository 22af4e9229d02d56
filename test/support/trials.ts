/**
 * Computations that a target is put to, each with what it must give: every node of a graph by itself, with the
 * interpreter's own operands, so that one op's rounding never excuses another's; and vectors that break kernels.
 */
import { GraphBuilder } from "../../ir/builder.ts";
import type { Graph, Node } from "../../ir/graph.ts";
import { type InterpretResult, interpret } from "../../ir/interpret.ts";
import { ops } from "../../ir/ops/index.ts";
import { ownOperands } from "../../ir/passes/epilogue.ts";
import { isBuildTime } from "../../ir/passes/partition-parameters.ts";
import { acc, apply, arg, type ScalarExpr, type ScalarFunction, substitute } from "../../ir/scalar.ts";
import { encodedTensor, type Tensor, tensor } from "../../ir/tensor.ts";
import { dense, encoded, type ScaleGranularity, scaleCount } from "../../ir/types.ts";
import {
  compareResults,
  comparisons,
  groupOrderBound,
  stepwise,
  sumsGroups,
  type Tier,
} from "./comparisons.ts";
import { nodeGraph } from "./node-graph.ts";
import { Random } from "./random.ts";
import { randomTensors } from "./random-graph.ts";
import type { WasmTensors } from "./run-wasm.ts";
import { expectSameBits, expectSameResults } from "./same-bits.ts";
import { expectWithin } from "./tolerance.ts";

export interface Trial {
  readonly name: string;
  /** Entries, compiled together. */
  readonly graphs: Readonly<Record<string, Graph>>;
  readonly runs: readonly { readonly entry: string; readonly tensors: WasmTensors }[];
  /** Fails unless what each run gave is right, for a target that owes no more than the tier says. */
  check(received: readonly InterpretResult[], tier?: Tier): void;
}

/** Every run-time node of a graph by itself. */
export function nodeTrials(graph: Graph, seed: number, tier: Tier = stepwise): Trial[] {
  const tensors = randomTensors(graph, new Random(seed));
  const bound = Object.fromEntries(tensors.symbols);
  const trials: Trial[] = [];
  interpret(graph, {
    ...tensors,
    symbols: bound,
    onNode(node, operands) {
      if (node.results.every(isBuildTime) || typeof comparisons[node.op] === "object") return;
      // An encoded weight is neither input nor output of a call.
      if ([...node.operands, ...node.results].some((value) => value.type.encoding && !isBuildTime(value)))
        return;
      const exact = withExactFunctions(node, tier);
      const { epilogue } = exact.attributes as { readonly epilogue?: ScalarExpr };
      const isInexact = exact.op === "linear" || (tier.anyGroupOrder && sumsGroups(exact));
      trials.push(
        isInexact && epilogue
          ? productTrial(exact as Product, epilogue, operands, graph.symbols, bound, tier)
          : nodeTrial(exact, operands, graph.symbols, bound, tier),
      );
    },
  });
  return trials;
}

type Bound = Readonly<Record<string, number>>;

function nodeTrial(
  node: Node,
  operands: readonly Tensor[],
  symbols: Graph["symbols"],
  bound: Bound,
  tier: Tier,
): Trial {
  const alone = nodeGraph(node, operands, symbols);
  const tensors = { ...alone, symbols: bound };
  return {
    name: node.op,
    graphs: { run: alone.graph },
    runs: [{ entry: "run", tensors }],
    check([given]) {
      const expected = Object.values(interpret(alone.graph, tensors).outputs);
      compareResults({ node, operands, expected, received: Object.values(given!.outputs) }, tier);
    },
  };
}

type Product = Node<"linear"> | Node<"ternary_matmul">;

/** A product's accumulators within their bound, and its epilogue exact on the target's own accumulators. */
function productTrial(
  node: Product,
  epilogue: ScalarExpr,
  operands: readonly Tensor[],
  symbols: Graph["symbols"],
  bound: Bound,
  tier: Tier,
): Trial {
  const own = ownOperands(node);
  const plain = { ...node, operands: node.operands.slice(0, own), attributes: {} } as Product;
  const sums = nodeTrial(plain, operands.slice(0, own), symbols, bound, tier);
  const whole = nodeGraph(node, operands, symbols);
  // The weights of both entries are packed together, so both are given every tensor.
  const tensors = { ...whole, symbols: bound };
  return {
    name: node.op,
    graphs: { sums: sums.graphs.run!, run: whole.graph },
    runs: [
      { entry: "sums", tensors },
      { entry: "run", tensors },
    ],
    check([before, after]) {
      sums.check([before!]);
      const [accumulators] = Object.values(before!.outputs) as [Tensor];
      const [received] = Object.values(after!.outputs) as [Tensor];
      const terms = [accumulators, ...operands.slice(own)];
      const expr = overOperands(epilogue);
      const [want] = ops.elementwise.evaluate(terms, { expr }, [received.type]);
      if (tier.exactArithmetic) expectSameBits(received, want!, "epilogue");
      else expectWithin(received, want!, () => 0, "epilogue");
    },
  };
}

/** An epilogue as an expression whose first argument is the accumulator. */
function overOperands(epilogue: ScalarExpr): ScalarExpr {
  return substitute(epilogue, (leaf) => ({ kind: "arg", index: leaf.kind === "acc" ? 0 : leaf.index + 1 }));
}

/** Functions with one right value whatever the arithmetic, in place of those whose value it decides. */
const arithmetic: Partial<Record<ScalarFunction, ScalarFunction>> = {
  add: "max",
  sub: "min",
  mul: "max",
  div: "min",
  sqrt: "abs",
  rsqrt: "abs",
  reciprocal: "neg",
  relu2: "relu",
};

/** Functions whose rounding a target chooses; an expression over the others has one right value. */
const inexact: Partial<Record<ScalarFunction, ScalarFunction>> = {
  exp: "relu2",
  log: "abs",
  tanh: "neg",
  sigmoid: "relu",
  erf: "abs",
  silu: "neg",
  gelu: "relu",
  gelu_tanh: "relu2",
};

function exactly(expr: ScalarExpr, arithmeticToo: boolean): ScalarExpr {
  if (expr.kind !== "apply") return expr;
  const chosen = inexact[expr.fn] ?? expr.fn;
  const fn = (arithmeticToo ? arithmetic[chosen] : undefined) ?? chosen;
  return { ...expr, fn, args: expr.args.map((inner) => exactly(inner, arithmeticToo)) };
}

/** The same node with expressions that have one right value, or within rounding one where the op is elementwise. */
function withExactFunctions(node: Node, tier: Tier): Node {
  const { attributes } = node;
  const rewritten = Object.fromEntries(
    Object.entries(attributes).map(([name, value]) =>
      ["expr", "epilogue", "prologue"].includes(name)
        ? [name, exactly(value as ScalarExpr, !tier.exactArithmetic && name !== "expr")]
        : [name, value],
    ),
  );
  return { ...node, attributes: rewritten } as unknown as Node;
}

/** Weights of the codes `code(i)`, with a scale of its own for each group. */
function ternary(n: number, k: number, scale: ScaleGranularity, code: (i: number) => number): Tensor {
  const codes = Int8Array.from({ length: n * k }, (_, i) => code(i));
  const scales = Float32Array.from({ length: scaleCount(scale, n, k) }, (_, i) => 0.01 * (i + 1));
  return encodedTensor({ ...encoded([n, k], { kind: "ternary", scale }), dims: [n, k] }, codes, scales);
}

const row = (k: number, value: (i: number) => number) => Array.from({ length: k }, (_, i) => value(i));
/** Codes -1, 0 and 1 without a period that meets a block's. */
const mixed = (i: number) => ((i * 5 + (i >> 3)) % 3) - 1;

/**
 * Runs of a graph with all rows of its inputs, and with the first alone; every output has the interpreter's bits, but
 * for y = acc * d where the order of groups is free.
 */
function exactTrial(name: string, graph: Graph, inputs: Record<string, Tensor>, w?: Tensor): Trial {
  const [rows] = Object.values(inputs)[0]!.type.dims as [number];
  const runs = [...new Set([rows, 1])].map((count) => ({
    entry: "run",
    tensors: {
      inputs: Object.fromEntries(Object.entries(inputs).map(([key, x]) => [key, firstRows(x, count)])),
      parameters: w ? { w } : {},
    },
  }));
  return {
    name,
    graphs: { run: graph },
    runs,
    check(received, tier = stepwise) {
      for (const [i, { tensors }] of runs.entries()) {
        const expected = interpret(graph, tensors);
        const { y, ...exact } = expected.outputs;
        if (w === undefined || !tier.anyGroupOrder || typeof w.type.encoding!.scale !== "object") {
          expectSameResults(received[i]!, expected, `run ${i}`);
          continue;
        }
        for (const [name, want] of Object.entries(exact)) {
          expectSameBits(received[i]!.outputs[name]!, want, `run ${i}, ${name}`);
        }
        const bound = groupOrderBound((exact.codes ?? tensors.inputs.codes) as Tensor, w);
        const [, n] = y!.type.dims as [number, number];
        const d = (at: number) => Math.abs(exact.d?.data[Math.floor(at / n)] ?? 1);
        expectWithin(received[i]!.outputs.y!, y!, (at) => bound[at]! * d(at), `run ${i}, y`);
      }
    },
  };
}

function firstRows({ type, data }: Tensor, count: number): Tensor {
  const [rows, width] = type.dims as [number, number];
  return { type: { ...type, dims: [count, width] }, data: data.slice(0, (data.length / rows) * count) };
}

/** A quantizer and the product behind it. */
function bitLinearTrial(name: string, rows: readonly (readonly number[])[], weight: Tensor): Trial {
  const [, k] = weight.type.dims as [number, number];
  const builder = new GraphBuilder("hard");
  const x = builder.input("x", dense("f32", [builder.symbol("batch", { max: 8 }), k]));
  const w = builder.parameter("w", weight.type);
  const [codes, d, sums] = builder.apply("quantize", [x], { bits: 8, granularity: "row" });
  const grouped = typeof weight.type.encoding!.scale === "object";
  const epilogue = apply("mul", grouped ? acc : apply("to_f32", acc), arg(0));
  builder.output("codes", codes!);
  builder.output("d", d!);
  builder.output("y", builder.one("ternary_matmul", [codes!, sums!, w, d!], { epilogue }));
  return exactTrial(name, builder.build(), { x: tensor("f32", [rows.length, k], rows.flat()) }, weight);
}

/** A product of codes that a quantizer need not ever give. */
function codesTrial(name: string, rows: readonly (readonly number[])[], weight: Tensor): Trial {
  const [, k] = weight.type.dims as [number, number];
  const builder = new GraphBuilder("hard");
  const batch = builder.symbol("batch", { max: 8 });
  const codes = builder.input("codes", dense("i8", [batch, k]));
  const sums = builder.input("sums", dense("i32", [batch, 1]));
  const w = builder.parameter("w", weight.type);
  builder.output("y", builder.one("ternary_matmul", [codes, sums, w], {}));
  const inputs = {
    codes: tensor("i8", [rows.length, k], rows.flat()),
    sums: tensor(
      "i32",
      [rows.length, 1],
      rows.map((codes) => codes.reduce((sum, code) => sum + code, 0)),
    ),
  };
  return exactTrial(name, builder.build(), inputs, weight);
}

const granularities: readonly ScaleGranularity[] = ["row", { group: 100 }];

/** Rows of a vocabulary's size, whose chunks are looked at one after the other. */
function topKTrial(k: number): Trial {
  const n = 20_000;
  const hard = [Number.NaN, Infinity, -Infinity, 0, -0];
  const rows = [
    row(n, (i) => Math.sin(i)),
    row(n, (i) => i),
    row(n, (i) => -i),
    // More equals than are kept, and zeros of both signs.
    row(n, (i) => (i % 7 === 0 ? -0 : 0)),
    row(n, (i) => (i % 1009 === 1 ? hard[i % 5]! : -Math.abs(Math.cos(i)))),
    row(n, () => Number.NaN),
    row(n, () => -Infinity),
  ];
  const builder = new GraphBuilder("hard");
  const x = builder.input("x", dense("f32", [builder.symbol("batch", { max: 8 }), n]));
  const [values, indices] = builder.apply("top_k", [x], { k });
  builder.output("values", values!);
  builder.output("indices", indices!);
  return exactTrial(`the ${k} largest of ${n}`, builder.build(), {
    x: tensor("f32", [rows.length, n], rows.flat()),
  });
}

/** Vectors that have broken kernels: of this project, of others, and where a bound is met. */
export function hardTrials(): Trial[] {
  const ties = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127];
  const special = [
    row(70, (i) => Math.sin(i)),
    row(70, () => 0),
    row(70, () => -0),
    row(70, (i) => ties[i % 8]!),
    row(70, (i) => 1e-7 * i),
    row(70, (i) => (i === 69 ? Number.NaN : i)),
    row(70, (i) => (i === 3 ? -Infinity : i)),
    row(70, (i) => (i === 0 ? 2 ** 127 : i)),
  ];
  const waves = (k: number) => [0, 1, 2, 3, 4].map((r) => row(k, (i) => Math.sin(i * (r + 1))));
  const alternating = (i: number) => (i % 2 === 0 ? 1 : -1);
  const extremes = [
    row(4096, () => 127),
    row(4096, () => -128),
    row(4096, (i) => (i % 2 === 0 ? 127 : -128)),
    row(4096, (i) => (i % 2 === 0 ? -128 : 127)),
    row(4096, (i) => (i % 128 < 64 ? 127 : -128)),
  ];
  const longest = [row(131_072, () => 1), row(131_072, alternating)];
  return [
    bitLinearTrial(
      "rows of zeros, ties, tiny, huge and broken numbers",
      special,
      ternary(6, 70, "row", mixed),
    ),
    ...[1, 3, 63, 64, 65, 5460].flatMap((k) =>
      granularities.map((scale) =>
        bitLinearTrial(`K = ${k}, scales by ${nameOf(scale)}`, waves(k), ternary(7, k, scale, mixed)),
      ),
    ),
    bitLinearTrial("one column", waves(1), ternary(1, 1, "tensor", mixed)),
    bitLinearTrial("groups of one", waves(9), ternary(3, 9, { group: 1 }, mixed)),
    ...granularities.flatMap((scale) => [
      codesTrial(
        `the largest codes times 1, scales by ${nameOf(scale)}`,
        extremes,
        ternary(5, 4096, scale, () => 1),
      ),
      codesTrial(
        `the largest codes times alternating signs, scales by ${nameOf(scale)}`,
        extremes,
        ternary(5, 4096, scale, alternating),
      ),
    ]),
    bitLinearTrial(
      "the longest sum of the largest codes",
      longest,
      ternary(4, 131_072, "row", (i) => (i < 131_072 ? 1 : alternating(i))),
    ),
    ...[1, 65].map(topKTrial),
  ];
}

function nameOf(scale: ScaleGranularity): string {
  return typeof scale === "object" ? `groups of ${scale.group}` : scale;
}
