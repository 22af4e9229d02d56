/**
 * merge-projections: matrix products that read the same activation become one product over the stacked
 * weights (q|k|v, gate|up), and each becomes a slice of it: a view, not a copy. Rows of a product are
 * independent, so no bit changes. It runs after fuse-scale, on products whose epilogues are alike: per-row
 * factors must be the same value, weight scales and biases are stacked like the weights.
 *
 *   %g: f32[batch, 6] = ternary_matmul(%q, %s, %w0, %d, %c0) {epilogue = mul(mul(to_f32(acc), x0), x1)}
 *   %u: f32[batch, 2] = ternary_matmul(%q, %s, %w1, %d, %c1) {epilogue = mul(mul(to_f32(acc), x0), x1)}
 * becomes, where %c0 = weight_scale(%w0) and %c1 = weight_scale(%w1),
 *   %w: f32[8, 4] ternary(row) = concat(%w0, %w1) {axis = 0}
 *   %c: f32[8] = weight_scale(%w)
 *   %m: f32[batch, 8] = ternary_matmul(%q, %s, %w, %d, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
 *   %g: f32[batch, 6] = slice(%m) {axis = 1, start = 0, size = 6}
 *   %u: f32[batch, 2] = slice(%m) {axis = 1, start = 6, size = 2}
 */
import { type Graph, type Node, topologicalOrder, users, type Value } from "../graph.ts";
import { derive, type Pass, producedBy, rebuild, remake } from "../rewrite.ts";
import { acc, formatScalar } from "../scalar.ts";
import { formatEncoding, type TensorType } from "../types.ts";
import { ownOperands, type Product } from "./epilogue.ts";
import { isBuildTime } from "./partition-parameters.ts";

export const mergeProjections: Pass = { name: "merge-projections", run: merge };

function merge(graph: Graph): Graph {
  const groupOf = new Map<Node, readonly Product[]>();
  for (const group of mergeable(graph)) for (const product of group) groupOf.set(product, group);
  if (groupOf.size === 0) return graph;
  const results = new Map<Node, readonly Value[]>();
  return rebuild(graph, {
    visit: (node, operands) => {
      const group = groupOf.get(node);
      // Products of one group share their operands apart from build-time ones, so all can be made at the first.
      if (group && group[0] === node) {
        for (const [product, slice] of mergeGroup(group, operands)) results.set(product, slice);
      }
      return results.get(node);
    },
  });
}

/** Groups of two or more products that can be stacked, each in topological order. */
function mergeable(graph: Graph): readonly (readonly Product[])[] {
  const order = topologicalOrder(graph);
  const readers = users(graph);
  const numbers = new Map<Value, number>();
  const numberOf = (value: Value) => {
    if (!numbers.has(value)) numbers.set(value, numbers.size);
    return numbers.get(value)!;
  };
  const groups = new Map<string, Product[]>();
  for (const node of order) {
    if (node.op !== "linear" && node.op !== "ternary_matmul") continue;
    const product = node as Product;
    if (isBuildTime(product.results[0]!)) continue;
    const key = mergeKey(product, readers, numberOf);
    if (key !== undefined) groups.set(key, [...(groups.get(key) ?? []), product]);
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

/** Equal for products that stack; undefined for one that stacks with none. */
function mergeKey(
  product: Product,
  readers: ReadonlyMap<Value, readonly Node[]>,
  numberOf: (value: Value) => number,
): string | undefined {
  const own = ownOperands(product);
  const weight = product.operands[own - 1]!;
  // A weight that something else reads would be stored twice.
  const exclusive = readers
    .get(weight)!
    .every((reader) => reader === product || reader.op === "weight_scale");
  if (!exclusive || !isBuildTime(weight)) return undefined;
  const roles = product.operands.slice(own).map((extra) => {
    const role = roleOf(extra, weight);
    return role === "row" ? `row ${numberOf(extra)}` : role;
  });
  if (roles.includes(undefined)) return undefined;
  const shared = product.operands.slice(0, own - 1).map(numberOf);
  const epilogue = formatScalar(product.attributes.epilogue ?? acc);
  return [
    product.op,
    product.results[0]!.type.dtype,
    layoutOf(weight.type),
    shared.join(),
    roles.join(),
    epilogue,
  ].join("|");
}

/** How a weight is stored: weights stored alike can be stacked by rows. */
function layoutOf({ dtype, encoding }: TensorType): string {
  if (!encoding) return dtype;
  return typeof encoding.scale === "string" ? encoding.kind : formatEncoding(encoding);
}

/**
 * What an extra operand is to its product: the scale of its weight, a vector [N] known at build, one number a
 * row (the same for every column), or something that cannot be stacked.
 */
function roleOf(extra: Value, weight: Value): "scale" | "vector" | "row" | undefined {
  if (producedBy(extra, "weight_scale")?.operands[0] === weight) return "scale";
  if (extra.type.dims.length === 1 && extra.type.dims[0] === weight.type.dims[0] && isBuildTime(extra)) {
    return "vector";
  }
  return extra.type.dims.length === 0 || extra.type.dims.at(-1) === 1 ? "row" : undefined;
}

/** The stacked product's slices. `operands` are the first product's, already rebuilt. */
function mergeGroup(group: readonly Product[], operands: readonly Value[]): Map<Node, readonly Value[]> {
  const first = group[0]!;
  const own = ownOperands(first);
  const parts = group.map((product) => product.results[0]!.name);
  const name = parts.includes(undefined) ? undefined : parts.join("_");
  const suffixed = (suffix: string) => [name && `${name}.${suffix}`];
  const weights = group.map((product) => product.operands[own - 1]!);
  const weight = derive(first, "concat", weights, { axis: 0 }, suffixed("weight")).results[0]!;
  const extras = first.operands.slice(own).map((extra, i) => {
    const role = roleOf(extra, weights[0]!);
    if (role === "row") return operands[own + i]!;
    if (role === "scale") return derive(first, "weight_scale", [weight], {}, suffixed("scale")).results[0]!;
    const vectors = group.map((product) => product.operands[own + i]!);
    return derive(first, "concat", vectors, { axis: 0 }, suffixed("bias")).results[0]!;
  });
  const mergedOperands = [...operands.slice(0, own - 1), weight, ...extras];
  const merged = derive(first, first.op, mergedOperands, first.attributes, [name]).results[0]!;
  const axis = merged.type.dims.length - 1;
  const slices = new Map<Node, readonly Value[]>();
  let start = 0;
  for (const product of group) {
    const size = product.results[0]!.type.dims.at(-1) as number;
    slices.set(product, remake(product, "slice", [merged], { axis, start, size }).results);
    start += size;
  }
  return slices;
}
