/**
 * The WASM target against the reference interpreter. Random graphs are computed by the interpreter, and each
 * of their nodes again on the target with the interpreter's own operands, so that one op's rounding never
 * excuses another's. Integer parts agree bit for bit, float parts within the numerics contract's tiers.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpuRules } from "../codegen/schedule/cpu/rules.ts";
import { GraphBuilder } from "../ir/builder.ts";
import type { Graph, Node } from "../ir/graph.ts";
import { interpret } from "../ir/interpret.ts";
import { type OpName, ops } from "../ir/ops/index.ts";
import { isBuildTime } from "../ir/passes/partition-parameters.ts";
import { acc, apply, arg, type ScalarExpr, type ScalarFunction, substitute } from "../ir/scalar.ts";
import { encodedTensor, type Tensor, tensor, toFloat32 } from "../ir/tensor.ts";
import { dense, encoded, type ScaleGranularity, scaleCount } from "../ir/types.ts";
import { nodeGraph } from "./support/node-graph.ts";
import { Random } from "./support/random.ts";
import { graphs, randomTensors } from "./support/random-graph.ts";
import { WasmProgram, type WasmTensors } from "./support/run-wasm.ts";
import { expectSameBits } from "./support/same-bits.ts";
import { EPSILON, expectWithin } from "./support/tolerance.ts";

interface Checked {
  readonly node: Node;
  readonly operands: readonly Tensor[];
  readonly expected: readonly Tensor[];
  readonly received: readonly Tensor[];
}

/** How an op's results are compared; `"bits"` where they must be the interpreter's own. */
type Comparison = "bits" | ((checked: Checked) => void);

/** Sums in any order: the error is bounded by the number of terms and the sum of their magnitudes. */
function compareSums({ node, operands, expected, received }: Checked): void {
  const attributes = node.attributes as { readonly axis: number; readonly keep_dims: boolean };
  const [x] = operands as [Tensor];
  const magnitudes: Tensor = { ...x, data: toFloat32(x).map(Math.abs) };
  const [bound] = ops.sum.evaluate([magnitudes], attributes, [expected[0]!.type]);
  const count = x.type.dims.at(attributes.axis)!;
  const scale = node.op === "mean" ? 1 / count : 1;
  const allowed = (i: number) => (count + 2) * EPSILON * bound!.data[i]! * scale;
  expectWithin(received[0]!, expected[0]!, allowed, node.op);
}

/**
 * The bound for dot products of K terms, from the product of magnitudes. int8 weights may be multiplied in fixed
 * point, with activations of 30 bits relative to the largest of their row.
 */
function compareLinear({ node, operands, expected, received }: Checked): void {
  const [x, w] = operands as [Tensor, Tensor];
  const magnitude = (from: Tensor) => tensor("f32", from.type.dims, toFloat32(from).map(Math.abs));
  const [bound] = ops.linear.evaluate([magnitude(x), magnitude(w)], {}, [expected[0]!.type]);
  const [n, k] = w.type.dims as [number, number];
  const activations = toFloat32(x);
  const weights = toFloat32(magnitude(w));
  const fixedPoint = (i: number) => {
    if (w.type.encoding?.kind !== "int8") return 0;
    const [row, column] = [Math.floor(i / n), i % n];
    const own = activations.slice(row * k, (row + 1) * k);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const sum = weights.slice(column * k, (column + 1) * k).reduce((total, value) => total + value, 0);
    return 2 ** -29 * largest * sum;
  };
  const allowed = (i: number) => (k + 8) * EPSILON * bound!.data[i]! + fixedPoint(i);
  expectWithin(received[0]!, expected[0]!, allowed, node.op);
}

function compareNorm({ node, operands, expected, received }: Checked): void {
  const k = operands[0]!.type.dims.at(-1)!;
  const relative = (Math.log2(k) + 8) * EPSILON;
  expectWithin(
    received[0]!,
    expected[0]!,
    (i) => relative * Math.abs(expected[0]!.data[i]!) + 1e-37,
    node.op,
  );
}

function compareSoftmax({ expected, received }: Checked): void {
  const allowed = (i: number) => Math.min(2 ** -20, 1e-5 * expected[0]!.data[i]! + 1e-37);
  expectWithin(received[0]!, expected[0]!, allowed, "softmax");
}

/**
 * A score carries the rounding of its dot product into an exponential, and so into the weight of every value: an
 * output moves by at most twice the largest score error times the largest value.
 */
function compareAttention({ node, operands, expected, received }: Checked): void {
  const [q, k, v] = operands as [Tensor, Tensor, Tensor];
  const { scale } = (node as Node<"attention">).attributes;
  const width = q.type.dims[3]!;
  const keyHeads = k.type.dims[2]!;
  const group = q.type.dims[2]! / keyHeads;
  const keys = toFloat32(k);
  const largest = toFloat32(v).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const seen = k.type.dims[1]!;
  const bounds = new Map<number, number>();
  const boundOf = (row: number): number => {
    const head = Math.floor((row % q.type.dims[2]!) / group);
    let score = 0;
    for (let key = head; key < keys.length / width; key += keyHeads) {
      let magnitude = 0;
      for (let i = 0; i < width; i++)
        magnitude += Math.abs(q.data[row * width + i]! * keys[key * width + i]!);
      score = Math.max(score, magnitude * scale);
    }
    return 2 * largest * ((width + 4) * score + seen + 16) * EPSILON;
  };
  const allowed = (i: number) => {
    const row = Math.floor(i / width);
    const bound = bounds.get(row) ?? boundOf(row);
    bounds.set(row, bound);
    return bound;
  };
  expectWithin(received[0]!, expected[0]!, allowed, "attention");
}

/** With a norm, a code on a rounding boundary may fall to either side; without one nothing may differ. */
function compareQuantize(checked: Checked): void {
  const { node, expected, received } = checked;
  const [codes, d, sums] = received as [Tensor, Tensor, Tensor];
  if ((node as Node<"quantize">).attributes.eps === undefined) {
    compareBits(checked);
    return;
  }
  expectWithin(d, expected[1]!, (i) => 1e-5 * expected[1]!.data[i]!, "d");
  let different = 0;
  expected[0]!.data.forEach((want, i) => {
    if (codes.data[i] !== want) different++;
  });
  expectWithin(codes, expected[0]!, () => 1, "codes");
  expect(different).toBeLessThanOrEqual(1 + codes.data.length / 100);
  const k = codes.type.dims.at(-1)!;
  sums.data.forEach((sum, row) => {
    const own = Array.from(codes.data.subarray(row * k, (row + 1) * k) as ArrayLike<number>);
    expect(sum, `sum of row ${row}`).toBe(own.reduce((a, b) => a + b, 0));
  });
}

/** Functions with a helper: a few units in the last place, and of x where they end in a product with x. */
function compareMath({ node, operands, expected, received }: Checked): void {
  const allowed = (i: number) => {
    const x = Math.abs(operands[0]!.data[i]!);
    const own = Math.abs(expected[0]!.data[i]!) * 8 * EPSILON;
    const product = ["silu", "gelu", "gelu_tanh"].includes(node.op) ? 8 * EPSILON * x : 0;
    return own + product + 1e-37;
  };
  expectWithin(received[0]!, expected[0]!, allowed, node.op);
}

function compareBits({ node, expected, received }: Checked): void {
  expected.forEach((result, i) => {
    expectSameBits(received[i]!, result, `${node.op} result ${i}`);
  });
}

const buildTimeOnly = "computed while a model is built";
/** Every op is compared, or it is said why not: the type refuses an op that is missing here. */
const comparisons: { readonly [Op in OpName]: Comparison | { readonly uncovered: string } } = {
  bit_linear: { uncovered: "lowered before scheduling" },
  absmean_quantize: { uncovered: buildTimeOnly },
  quantize_int8: { uncovered: buildTimeOnly },
  weight_scale: { uncovered: buildTimeOnly },
  rope_table: { uncovered: buildTimeOnly },
  constant: { uncovered: buildTimeOnly },
  linear: compareLinear,
  embedding: "bits",
  rms_norm: compareNorm,
  rope: "bits",
  cache_write: "bits",
  attention: compareAttention,
  softmax: compareSoftmax,
  quantize: compareQuantize,
  ternary_matmul: "bits",
  elementwise: "bits",
  sum: compareSums,
  mean: compareSums,
  max_reduce: "bits",
  min_reduce: "bits",
  cast: "bits",
  reshape: "bits",
  transpose: "bits",
  slice: "bits",
  concat: "bits",
  exp: compareMath,
  log: compareMath,
  tanh: compareMath,
  sigmoid: compareMath,
  erf: compareMath,
  silu: compareMath,
  gelu: compareMath,
  gelu_tanh: compareMath,
  neg: "bits",
  abs: "bits",
  sqrt: "bits",
  rsqrt: "bits",
  reciprocal: "bits",
  relu: "bits",
  relu2: "bits",
  to_f32: "bits",
  add: "bits",
  sub: "bits",
  mul: "bits",
  div: "bits",
  max: "bits",
  min: "bits",
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

function exactly(expr: ScalarExpr): ScalarExpr {
  if (expr.kind !== "apply") return expr;
  return { ...expr, fn: inexact[expr.fn] ?? expr.fn, args: expr.args.map(exactly) };
}

/** Runs with every variant and number of threads, which must not differ in a bit. */
function runVariants(program: WasmProgram, tensors: WasmTensors, entry = "run"): readonly Tensor[] {
  const [first, ...others] = [
    { threads: 1, relaxed: false },
    { threads: 3, relaxed: false },
    { threads: 2, relaxed: true },
  ].map((options) => Object.values(program.run(entry, tensors, options).outputs));
  for (const other of others) {
    other.forEach((result, i) => {
      expectSameBits(result, first![i]!, "another variant");
    });
  }
  return first!;
}

/** Whether a float comparison means something: products of such operands stay far from overflow. */
function isTame(operands: readonly Tensor[]): boolean {
  return operands.every(({ data }) => data.every((value) => Math.abs(value) < 1e6));
}

/** The same node with expressions of exact functions, and for dot products without an epilogue. */
function comparable(node: Node): Node {
  const { attributes } = node;
  const rewritten = Object.fromEntries(
    Object.entries(attributes).map(([name, value]) =>
      ["expr", "epilogue", "prologue"].includes(name) ? [name, exactly(value as ScalarExpr)] : [name, value],
    ),
  );
  return { ...node, attributes: rewritten } as unknown as Node;
}

async function checkNode(node: Node, operands: readonly Tensor[], symbols: Checkable): Promise<void> {
  const comparison = comparisons[node.op];
  if (typeof comparison === "object") return;
  const alone = nodeGraph(node, operands, symbols.graph.symbols);
  const program = await WasmProgram.compile({ run: alone.graph });
  const given = { ...alone, symbols: symbols.bound };
  const received = runVariants(program, given);
  const expected = Object.values(interpret(alone.graph, given).outputs);
  const checked = { node, operands, expected, received };
  if (comparison === "bits") compareBits(checked);
  else if (isTame(operands)) comparison(checked);
}

interface Checkable {
  readonly graph: Graph;
  readonly bound: Readonly<Record<string, number>>;
}

/** A linear's accumulators within their bound, and its epilogue exact on the target's own accumulators. */
async function checkLinear(
  node: Node<"linear">,
  operands: readonly Tensor[],
  symbols: Checkable,
): Promise<void> {
  const plain = { ...node, operands: node.operands.slice(0, 2), attributes: {} } as Node<"linear">;
  const { epilogue } = node.attributes;
  if (epilogue === undefined) return checkNode(plain, operands, symbols);
  const sums = nodeGraph(plain, operands, symbols.graph.symbols);
  const whole = nodeGraph(node, operands, symbols.graph.symbols);
  const program = await WasmProgram.compile({ sums: sums.graph, run: whole.graph });
  const given = { ...whole, symbols: symbols.bound };
  const accumulators = runVariants(program, given, "sums");
  const expected = Object.values(interpret(sums.graph, given).outputs);
  if (isTame(operands.slice(0, 2)))
    compareLinear({ node: plain, operands, expected, received: accumulators });
  const received = runVariants(program, given);
  const expr = overOperands(epilogue);
  const extras = operands.slice(2);
  const [after] = ops.elementwise.evaluate([accumulators[0]!, ...extras], { expr }, [received[0]!.type]);
  expectSameBits(received[0]!, after!, "epilogue");
}

/** An epilogue as an expression whose first argument is the accumulator. */
function overOperands(epilogue: ScalarExpr): ScalarExpr {
  return substitute(epilogue, (leaf) => ({ kind: "arg", index: leaf.kind === "acc" ? 0 : leaf.index + 1 }));
}

/** Checks every run-time node of a graph by itself. */
async function checkNodes(graph: Graph, seed: number): Promise<void> {
  const tensors = randomTensors(graph, new Random(seed));
  const bound = Object.fromEntries(tensors.symbols);
  const nodes: { node: Node; operands: readonly Tensor[] }[] = [];
  interpret(graph, {
    ...tensors,
    symbols: bound,
    onNode: (node, operands) => {
      if (!node.results.every(isBuildTime)) nodes.push({ node: comparable(node), operands });
    },
  });
  for (const { node, operands } of nodes) {
    const symbols = { graph, bound };
    if (node.op === "linear") await checkLinear(node as Node<"linear">, operands, symbols);
    else await checkNode(node, operands, symbols);
  }
}

const castTo = ["f32", "f16", "bf16", "i8", "u8", "i32", "u32"] as const;

function check(names: readonly OpName[], runs: number): Promise<void> {
  return fc.assert(fc.asyncProperty(graphs({ ops: names, size: 6, castTo }), fc.integer(), checkNodes), {
    numRuns: runs,
  });
}

/** Compares a quantizer and the integer product behind it, bit for bit. */
async function checkBitLinear(rows: readonly (readonly number[])[], weight: Tensor): Promise<void> {
  const k = rows[0]!.length;
  const [n] = weight.type.dims as [number];
  const builder = new GraphBuilder("hard");
  const batch = builder.symbol("batch", { max: 8 });
  const x = builder.input("x", dense("f32", [batch, k]));
  const w = builder.parameter("w", weight.type);
  const [codes, d, sums] = builder.apply("quantize", [x], { bits: 8, granularity: "row" });
  const grouped = typeof weight.type.encoding!.scale === "object";
  const epilogue = apply("mul", grouped ? acc : apply("to_f32", acc), arg(0));
  builder.output("codes", codes!);
  builder.output("d", d!);
  builder.output("y", builder.one("ternary_matmul", [codes!, sums!, w, d!], { epilogue }));
  const graph = builder.build();
  const program = await WasmProgram.compile({ run: graph });
  for (const some of [rows, rows.slice(0, 1)]) {
    const given = { inputs: { x: tensor("f32", [some.length, k], some.flat()) }, parameters: { w: weight } };
    const expected = interpret(graph, given).outputs;
    const received = runVariants(program, given);
    Object.values(expected).forEach((want, i) => {
      expectSameBits(received[i]!, want, `[${n}, ${k}]`);
    });
  }
}

function ternary(n: number, k: number, scale: ScaleGranularity, code: (i: number) => number): Tensor {
  const codes = Int8Array.from({ length: n * k }, (_, i) => code(i));
  const scales = Float32Array.from({ length: scaleCount(scale, n, k) }, (_, i) => 0.01 * (i + 1));
  return encodedTensor({ ...encoded([n, k], { kind: "ternary", scale }), dims: [n, k] }, codes, scales);
}

const row = (k: number, value: (i: number) => number) => Array.from({ length: k }, (_, i) => value(i));

describe("vectors that break kernels", () => {
  test("rows of zeros, ties, tiny, huge and broken numbers", () => {
    const ties = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127];
    const rows = [
      row(70, (i) => Math.sin(i)),
      row(70, () => 0),
      row(70, () => -0),
      row(70, (i) => ties[i % 8]!),
      row(70, (i) => 1e-7 * i),
      row(70, (i) => (i === 69 ? Number.NaN : i)),
      row(70, (i) => (i === 3 ? -Infinity : i)),
      row(70, (i) => (i === 0 ? 2 ** 127 : i)),
    ];
    return checkBitLinear(
      rows,
      ternary(6, 70, "row", (i) => ((i * 7) % 3) - 1),
    );
  });

  test.each([
    ["the tail of K = 5460", 7, 5460, "row"],
    ["groups with a tail of their own", 5, 5460, { group: 100 }],
    ["one column", 1, 1, "row"],
    ["groups of one", 3, 9, { group: 1 }],
  ] as const)("%s", (_name, n, k, scale) => {
    const rows = [0, 1, 2, 3, 4].map((r) => row(k, (i) => Math.sin(i * (r + 1))));
    return checkBitLinear(
      rows,
      ternary(n, k, scale, (i) => ((i * 5 + (i >> 3)) % 3) - 1),
    );
  });

  test("the longest sum of the largest codes stays exact", () => {
    const rows = [row(131_072, () => 1), row(131_072, (i) => (i % 2 === 0 ? 1 : -1))];
    return checkBitLinear(
      rows,
      ternary(4, 131_072, "row", (i) => (i < 131_072 ? 1 : i % 2 === 0 ? 1 : -1)),
    );
  });
});

describe("the WASM target op by op", () => {
  test("covers just the ops it says it covers", () => {
    for (const op of Object.keys(ops) as OpName[]) {
      expect("uncovered" in Object(cpuRules[op]), op).toBe("uncovered" in Object(comparisons[op]));
    }
  });

  test("elementwise", () =>
    check(
      ["neg", "abs", "sqrt", "rsqrt", "reciprocal", "relu", "relu2", "to_f32", "add", "sub", "mul", "div"],
      30,
    ));
  test("fused elementwise, cast, maximum and minimum", () =>
    check(["elementwise", "cast", "max", "min"], 40));
  test("math functions", () =>
    check(["exp", "log", "tanh", "sigmoid", "erf", "silu", "gelu", "gelu_tanh"], 30));
  test("reductions", () => check(["sum", "mean", "max_reduce", "min_reduce", "transpose"], 40));
  test("movement", () => check(["reshape", "transpose", "slice", "concat", "cast"], 30));
  test("rows", () => check(["rms_norm", "softmax", "transpose", "slice"], 40));
  test("quantize", () => check(["quantize"], 40));
  test("ternary products", () => check(["ternary_matmul", "quantize"], 25));
  test("linear", () => check(["linear"], 20));
  test("embedding", () => check(["embedding"], 30));
  test("rope, cache and attention", () => check(["rope", "cache_write", "attention", "reshape"], 40));
});
