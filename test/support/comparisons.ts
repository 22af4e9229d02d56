/**
 * How close a target must come to the interpreter, op by op: integer parts bit for bit, float parts within the
 * numerics contract's tiers.
 */
import { expect } from "vitest";
import { isFixedPoint } from "../../codegen/schedule/cpu/fixed-point.ts";
import type { Node } from "../../ir/graph.ts";
import { type OpName, ops } from "../../ir/ops/index.ts";
import { arg } from "../../ir/scalar.ts";
import { type Tensor, tensor, toFloat32 } from "../../ir/tensor.ts";
import { elementwiseExpr, roundingBound } from "./rounding.ts";
import { expectSameBits } from "./same-bits.ts";
import { EPSILON, expectWithin } from "./tolerance.ts";

/** One node's operands, and its results by the interpreter and by a target. */
export interface Checked {
  readonly node: Node;
  readonly operands: readonly Tensor[];
  readonly expected: readonly Tensor[];
  readonly received: readonly Tensor[];
}

/** What the numerics contract leaves to a target. */
export interface Tier {
  /** Sums of groups of ternary weights are added up in any order. */
  readonly anyGroupOrder: boolean;
  /** Each sum, product, quotient and root is the nearest f32; if not, it is as close as WGSL demands. */
  readonly exactArithmetic: boolean;
  /** Products of gradients with codes are sums of integers: the gradients have 16 bits relative to the largest. */
  readonly fixedPointGradients: boolean;
}

/** Targets whose results the contract fixes step by step. */
export const stepwise: Tier = { anyGroupOrder: false, exactArithmetic: true, fixedPointGradients: true };
/** CUDA's: threads share a row's groups, and IEEE arithmetic. */
export const cudaTier: Tier = { anyGroupOrder: true, exactArithmetic: true, fixedPointGradients: false };
/** Targets that compute as WGSL allows. */
export const wgslTier: Tier = { anyGroupOrder: true, exactArithmetic: false, fixedPointGradients: false };

/** How an op's results are compared; `"bits"` where they must be the interpreter's own. */
type Comparison = "bits" | ((checked: Checked, tier: Tier) => void);

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

function compareProducts({ operands, expected, received }: Checked): void {
  const [a, b] = operands as [Tensor, Tensor];
  const [bound] = ops.batch_matmul.evaluate([magnitude(a), magnitude(b)], {}, [expected[0]!.type]);
  expectSum(received[0]!, expected[0]!, bound!, a.type.dims.at(-1)!, "batch_matmul");
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

/** Within a bound of every step where they compute with f32. */
function compareExpression(checked: Checked): void {
  const { node, operands, expected, received } = checked;
  const [want] = expected as [Tensor];
  if (want.type.dtype === "f32") {
    const bound = roundingBound(elementwiseExpr(node.op, node.attributes)!, operands, want);
    expectWithin(received[0]!, want, (i) => bound[i]!, node.op);
  } else compareBits(checked);
}

function magnitude(from: Tensor): Tensor {
  return tensor("f32", from.type.dims, toFloat32(from).map(Math.abs));
}

/**
 * Fails unless a result is as close as a sum in any order of `terms` terms, whose magnitudes add up to `bound`; what
 * fixed point adds to that is `rounding`.
 */
function expectSum(
  received: Tensor,
  expected: Tensor,
  bound: Tensor,
  terms: number,
  name: string,
  rounding = (_i: number) => 0,
): void {
  const allowed = (i: number) => (terms + 8) * EPSILON * bound.data[i]! + 1e-37 + rounding(i);
  expectWithin(received, expected, allowed, name);
}

/**
 * The bound of out = a @ b where b is codes with a scale a row, which is taken into a: of each row of a the largest
 * magnitude M, at least 2^-100, may be 32767 and the rest the nearest integer, off by M / 65534, as often as a unit of
 * b's codes has it.
 */
function fixedPointRounding(
  a: (row: number, i: number) => number,
  codes: (i: number, column: number) => number,
  [rows, columns, terms]: readonly [number, number, number],
): (i: number) => number {
  const units = new Float64Array(columns);
  for (let i = 0; i < terms; i++) {
    for (let column = 0; column < columns; column++) units[column]! += Math.abs(codes(i, column));
  }
  const largest = new Float64Array(rows).fill(2 ** -100);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < terms; i++) largest[row] = Math.max(largest[row]!, Math.abs(a(row, i)));
  }
  return (i) => (largest[Math.floor(i / columns)]! / 65_534) * units[i % columns]! * (1 + 2 ** -16);
}

function compareInputGradient({ node, operands, expected, received }: Checked, tier: Tier): void {
  const [g, w] = operands as [Tensor, Tensor];
  const [bound] = ops.linear_input_gradient.evaluate([magnitude(g), magnitude(w)], {}, [expected[0]!.type]);
  const [n, k] = w.type.dims as [number, number];
  const { scales } = w;
  const scale = (i: number) => scales![scales!.length === 1 ? 0 : i]!;
  const rounding =
    tier.fixedPointGradients &&
    isFixedPoint(node) &&
    fixedPointRounding(
      (row, i) => g.data[row * n + i]! * scale(i),
      (i, column) => w.data[i * k + column]!,
      [g.data.length / n, k, n],
    );
  expectSum(received[0]!, expected[0]!, bound!, n, "linear_input_gradient", rounding || undefined);
}

function compareWeightGradient({ node, operands, expected, received }: Checked, tier: Tier): void {
  const [g, x, d] = operands as [Tensor, Tensor, Tensor?];
  const all = [magnitude(g), magnitude(x), ...(d ? [magnitude(d)] : [])];
  const [bound] = ops.linear_weight_gradient.evaluate(all, {}, [expected[0]!.type]);
  const [n, k] = expected[0]!.type.dims as [number, number];
  const rows = g.data.length / n;
  const rounding =
    tier.fixedPointGradients &&
    isFixedPoint(node) &&
    fixedPointRounding(
      (column, row) => g.data[row * n + column]! * d!.data[row]!,
      (row, column) => x.data[row * k + column]!,
      [n, k, rows],
    );
  expectSum(received[0]!, expected[0]!, bound!, rows, "linear_weight_gradient", rounding || undefined);
}

function compareEmbeddingGradient({ node, operands, expected, received }: Checked): void {
  const [g, ids] = operands as [Tensor, Tensor];
  const { attributes } = node as Node<"embedding_gradient">;
  const [bound] = ops.embedding_gradient.evaluate([magnitude(g), ids], attributes, [expected[0]!.type]);
  expectSum(received[0]!, expected[0]!, bound!, ids.data.length, "embedding_gradient");
}

/** dx within its three terms' magnitudes, dw as the sum over rows that it is. */
function compareNormGradient({ node, operands, expected, received }: Checked): void {
  const [x, w, g] = operands as [Tensor, Tensor, Tensor];
  const { eps } = (node as Node<"rms_norm_gradient">).attributes;
  const k = w.type.dims[0]!;
  const rows = x.data.length / k;
  const roots = Array.from({ length: rows }, (_, row) => {
    const squares = toFloat32(x)
      .slice(row * k, (row + 1) * k)
      .reduce((sum, value) => sum + value ** 2, 0);
    return 1 / Math.sqrt(squares / k + eps);
  });
  const h = (i: number) => Math.abs(g.data[i]! * w.data[i % k]!);
  const products = roots.map((_, row) => {
    let sum = 0;
    for (let i = row * k; i < (row + 1) * k; i++) sum += h(i) * Math.abs(x.data[i]!);
    return sum / k;
  });
  const dx = (i: number) => {
    const row = Math.floor(i / k);
    const r = roots[row]!;
    return (2 * k + 16) * EPSILON * r * (h(i) + Math.abs(x.data[i]!) * r * r * products[row]!) + 1e-37;
  };
  expectWithin(received[0]!, expected[0]!, dx, "dx");
  const dw = (column: number) => {
    let sum = 0;
    for (let i = column; i < x.data.length; i += k) {
      sum += Math.abs(g.data[i]! * x.data[i]!) * roots[Math.floor(i / k)]!;
    }
    return (rows + k + 16) * EPSILON * sum + 1e-37;
  };
  expectWithin(received[1]!, expected[1]!, dw, "dw");
}

/** As for attention: errors of scores move the weights of all terms, here of sums over keys or queries. */
function compareAttentionGradient({ node, operands, expected, received }: Checked): void {
  const { scale } = (node as Node<"attention_gradient">).attributes;
  const [q, k, v, g] = operands as [Tensor, Tensor, Tensor, Tensor];
  const [seq = 0, heads = 0, width = 0] = q.type.dims.slice(1);
  const largest = ({ data }: Tensor) => Math.max(...Array.from(data, Math.abs));
  const score = width * largest(q) * largest(k) * scale;
  const error = 16 * (width + seq + 16) * EPSILON * (1 + score);
  const dp = width * largest(g) * largest(v);
  const queries = (seq * heads) / k.type.dims[2]!;
  const bounds = [scale * dp * largest(k), queries * scale * dp * largest(q), queries * largest(g)];
  for (const [i, bound] of bounds.entries()) {
    expectWithin(received[i]!, expected[i]!, () => error * bound + 1e-37, `attention_gradient ${i}`);
  }
}

function compareCrossEntropy({ operands, expected, received }: Checked): void {
  const [logits, targets] = operands as [Tensor, Tensor];
  const k = logits.type.dims.at(-1)!;
  const size = (row: number) =>
    Math.max(...Array.from(logits.data.slice(row * k, (row + 1) * k), Math.abs)) + Math.log(k) + 1;
  const allowed = (row: number) => (k + 16) * EPSILON * size(row);
  expectWithin(received[1]!, expected[1]!, allowed, "log_sum");
  const loss = (row: number) => (targets.data[row]! < 0 ? 0 : allowed(row));
  expectWithin(received[0]!, expected[0]!, loss, "loss");
}

/** The exponent x - log_sum rounds once, relative to its size. */
function compareCrossEntropyGradient({ operands, expected, received }: Checked): void {
  const [logits, targets, logSum, g] = operands as [Tensor, Tensor, Tensor, Tensor];
  const k = logits.type.dims.at(-1)!;
  const allowed = (i: number) => {
    const row = Math.floor(i / k);
    if (targets.data[row]! < 0) return 0;
    const exponent = logits.data[i]! - logSum.data[row]!;
    const probability = Math.exp(exponent);
    const error = probability * (Math.abs(exponent) + 16) + 2;
    return 2 * EPSILON * error * Math.abs(g.data[row]!) + 1e-37;
  };
  expectWithin(received[0]!, expected[0]!, allowed, "cross_entropy_gradient");
}

function compareRope({ operands, expected, received }: Checked): void {
  const [x] = operands as [Tensor];
  const width = x.type.dims.at(-1)!;
  const partner = (i: number) => (i % width < width / 2 ? i + width / 2 : i - width / 2);
  const pair = (i: number) => Math.abs(x.data[i]!) + Math.abs(x.data[partner(i)]!);
  expectWithin(received[0]!, expected[0]!, (i) => 8 * EPSILON * pair(i), "rope");
}

function compareEmbedding({ expected, received }: Checked): void {
  const [want] = expected as [Tensor];
  expectWithin(received[0]!, want, (i) => 2 * EPSILON * Math.abs(want.data[i]!), "embedding");
}

/** Zeros of either sign are equal. */
function compareEqual({ node, expected, received }: Checked): void {
  expectWithin(received[0]!, expected[0]!, () => 0, node.op);
}

/** Ops that owe the interpreter's bits only where arithmetic is exact; beside them, what is an expression. */
const withoutExactArithmetic: { readonly [Op in OpName]?: Comparison } = {
  rope: compareRope,
  embedding: compareEmbedding,
  max_reduce: compareEqual,
  min_reduce: compareEqual,
  ternary_matmul: compareEqual,
};

/** How a covered op's results are compared on targets of a tier. */
export function comparisonOf(op: OpName, tier: Tier): Comparison {
  const comparison = comparisons[op];
  if (typeof comparison === "object") throw new Error(`${op} is not compared: ${comparison.uncovered}`);
  if (comparison !== "bits" || tier.exactArithmetic) return comparison;
  const isExpression = elementwiseExpr(op, { expr: arg(0) }) !== undefined;
  return isExpression ? compareExpression : (withoutExactArithmetic[op] ?? "bits");
}

const buildTimeOnly = "computed while a model is built";
/** Every op is compared, or it is said why not: the type refuses an op that is missing here. */
export const comparisons: { readonly [Op in OpName]: Comparison | { readonly uncovered: string } } = {
  bit_linear: { uncovered: "lowered before scheduling" },
  straight_through: { uncovered: "dropped before scheduling" },
  quantize_int8: { uncovered: buildTimeOnly },
  rope_table: { uncovered: buildTimeOnly },
  constant: { uncovered: buildTimeOnly },
  absmean_quantize: "bits",
  weight_scale: "bits",
  cross_entropy: compareCrossEntropy,
  cross_entropy_gradient: compareCrossEntropyGradient,
  linear_input_gradient: compareInputGradient,
  linear_weight_gradient: compareWeightGradient,
  embedding_gradient: compareEmbeddingGradient,
  rms_norm_gradient: compareNormGradient,
  attention_gradient: compareAttentionGradient,
  linear: compareLinear,
  batch_matmul: compareProducts,
  embedding: "bits",
  rms_norm: compareNorm,
  rope: "bits",
  cache_write: "bits",
  attention: compareAttention,
  softmax: compareSoftmax,
  top_k: "bits",
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
  broadcast: "bits",
  pad: "bits",
  axis_length: "bits",
  after: "bits",
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
  sign: "bits",
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

/**
 * By how much the accumulators [rows, n] of a product with grouped scales may differ in another order of groups:
 * (G + 3) 2^-24 sum |acc_g alpha_g|.
 */
export function groupOrderBound(codes: Tensor, w: Tensor): Float64Array {
  const [n, k] = w.type.dims as [number, number];
  const { group } = w.type.encoding!.scale as { readonly group: number };
  const groups = Math.ceil(k / group);
  const rows = codes.data.length / k;
  const bound = new Float64Array(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < n; column++) {
      let magnitude = 0;
      for (let g = 0; g < groups; g++) {
        let acc = 0;
        for (let i = g * group; i < Math.min(k, (g + 1) * group); i++) {
          acc += (codes.data[row * k + i] as number) * (w.data[column * k + i] as number);
        }
        magnitude += Math.abs(acc * w.scales![column * groups + g]!);
      }
      bound[row * n + column] = (groups + 3) * EPSILON * magnitude;
    }
  }
  return bound;
}

/** Whether a node's accumulators are sums over groups of ternary weights. */
export function sumsGroups({ op, operands }: Node): boolean {
  return op === "ternary_matmul" && typeof operands[2]!.type.encoding!.scale === "object";
}

/** Fails unless a node's results are as close as its op and the target's tier demand. */
export function compareResults(checked: Checked, tier: Tier = stepwise): void {
  if (tier.anyGroupOrder && sumsGroups(checked.node)) {
    const [codes, , w] = checked.operands as [Tensor, Tensor, Tensor];
    const bound = groupOrderBound(codes, w);
    expectWithin(checked.received[0]!, checked.expected[0]!, (i) => bound[i]!, "sums of groups");
    return;
  }
  const comparison = comparisonOf(checked.node.op, tier);
  const followsSteps = comparisons[checked.node.op] === "bits";
  if (comparison === "bits") compareBits(checked);
  else if (followsSteps || isTame(checked.operands)) comparison(checked, tier);
}

/** Whether a float comparison means something: products of such operands stay far from overflow. */
function isTame(operands: readonly Tensor[]): boolean {
  return operands.every(({ data }) => data.every((value) => Math.abs(value) < 1e6));
}
