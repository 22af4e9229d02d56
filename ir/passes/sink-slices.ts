/**
 * sink-slices: a slice along any axis but the last moves from the result of a row-wise operation to its
 * operands, so that rows nobody asked for are never computed. In `prefill` the last layer's feed-forward
 * network and the head then run for the last position only. A slice moves only when it is the one reader of
 * the operation's result; what attention mixes across positions stops it. It runs right after
 * last-position, before lowering; it also moves slices through lowered products.
 *
 *   %n: f32[batch, seq, 8] = rms_norm(%x, %g) {eps = 0.00001}
 *   %y: f32[batch, seq, 16] = linear(%n, %w)
 *   %l: f32[batch, 1, 16] = slice(%y) {axis = 1, start = -1, size = 1}
 * becomes
 *   %s: f32[batch, 1, 8] = slice(%x) {axis = 1, start = -1, size = 1}
 *   %n: f32[batch, 1, 8] = rms_norm(%s, %g) {eps = 0.00001}
 *   %l: f32[batch, 1, 16] = linear(%n, %w)
 */
import type { Node, Value } from "../graph.ts";
import type { OpName } from "../ops/index.ts";
import {
  definePass,
  derive,
  nameAfter,
  producedBy,
  type Replacement,
  type RewriteContext,
  remake,
  rule,
} from "../rewrite.ts";
import { sameDims } from "../types.ts";
import { uniqueNodes } from "./common-subexpressions.ts";
import { elementwiseOps } from "./fusion.ts";

/** Operands of a row-wise op that carry rows; the others belong to the last axis or are weights. */
const rowOperands: { readonly [Op in OpName]?: (node: Node) => readonly number[] } = {
  ...Object.fromEntries(elementwiseOps.map((op) => [op, allOperands])),
  cast: () => [0],
  softmax: () => [0],
  rms_norm: () => [0],
  embedding: () => [1],
  linear: (node) => allOperands(node).filter((i) => i !== 1),
  bit_linear: (node) =>
    node.op === "bit_linear" && node.attributes.activation?.granularity === "tensor" ? [] : [0],
};

function allOperands(node: Node): readonly number[] {
  return node.operands.map((_, i) => i);
}

/** A slice of one value, ready to be applied to the operands the value was made from. */
interface Cut {
  readonly slice: Node<"slice">;
  readonly source: Value;
  readonly axis: number;
}

const sink = rule("slice", (slice, context): Replacement => {
  const source = slice.operands[0]!;
  const rank = source.type.dims.length;
  const axis = slice.attributes.axis < 0 ? slice.attributes.axis + rank : slice.attributes.axis;
  if (axis === rank - 1 || source.origin.kind !== "node" || context.uses(source) !== 1) return undefined;
  const cut = { slice, source, axis };
  const node = source.origin.node;
  switch (node.op) {
    case "reshape":
      return throughReshape(cut, node);
    case "transpose":
      return throughTranspose(cut, node);
    case "slice":
      return throughSlice(cut, node);
    case "ternary_matmul":
      return throughTernaryMatmul(cut, node, context);
    default:
      return throughRowWise(cut, node);
  }
});

/** The cut of a value that broadcasts to the cut value, axes aligned at the last; one row serves all. */
function cutOperand({ slice, source, axis }: Cut, operand: Value): Value {
  const own = axis - source.type.dims.length + operand.type.dims.length;
  if (own < 0 || operand.type.dims[own] !== source.type.dims[axis]) return operand;
  return cutAxis(slice, operand, own);
}

function cutAxis(slice: Node<"slice">, operand: Value, axis: number): Value {
  const attributes = { ...slice.attributes, axis };
  return derive(slice, "slice", [operand], attributes, [cutName(slice, operand)]).results[0]!;
}

/** What is computed for fewer rows keeps its name: `n5.last`, `n5.cut`. */
function cutName({ attributes: { start, size } }: Node<"slice">, whole: Value): string | undefined {
  return nameAfter(whole, start === -1 && size === 1 ? "last" : "cut");
}

function throughRowWise(cut: Cut, node: Node): Replacement {
  const rows = rowOperands[node.op]?.(node) ?? [];
  if (rows.length === 0) return undefined;
  const operands = node.operands.map((operand, i) => {
    if (!rows.includes(i)) return operand;
    // Token ids lack the embedding's last axis, so their axes align at the first.
    return node.op === "embedding" ? cutAxis(cut.slice, operand, cut.axis) : cutOperand(cut, operand);
  });
  return remake(cut.slice, node.op, operands, node.attributes).results;
}

/** Both sides must agree on the cut axis and all before it. */
function throughReshape({ slice, source, axis }: Cut, node: Node<"reshape">): Replacement {
  const x = node.operands[0]!;
  const before = axis + 1;
  if (!sameDims(x.type.dims.slice(0, before), source.type.dims.slice(0, before))) return undefined;
  return remake(slice, "reshape", [cutAxis(slice, x, axis)], { dims: [...slice.results[0]!.type.dims] })
    .results;
}

function throughTranspose({ slice, axis }: Cut, node: Node<"transpose">): Replacement {
  const inner = cutAxis(slice, node.operands[0]!, node.attributes.permutation[axis]!);
  return remake(slice, "transpose", [inner], node.attributes).results;
}

/** Slices along different axes commute; the one along the later axis stays outside, so this ends. */
function throughSlice({ slice, source, axis }: Cut, node: Node<"slice">): Replacement {
  const own =
    node.attributes.axis < 0 ? node.attributes.axis + source.type.dims.length : node.attributes.axis;
  if (own <= axis) return undefined;
  return remake(slice, "slice", [cutAxis(slice, node.operands[0]!, axis)], node.attributes).results;
}

/** A product and its quantizer move together, when the product alone reads the quantizer's results. */
function throughTernaryMatmul(cut: Cut, node: Node<"ternary_matmul">, context: RewriteContext): Replacement {
  const [codes, sum, weight, ...extras] = node.operands as [Value, Value, Value, ...Value[]];
  const quantize = producedBy(codes, "quantize");
  if (quantize?.attributes.granularity !== "row") return undefined;
  const alone = quantize.results.every(
    (result) => context.uses(result) <= node.operands.filter((operand) => operand === result).length,
  );
  if (!alone || !quantize.results.includes(sum)) return undefined;
  const normalized = quantize.attributes.eps !== undefined;
  const inputs = quantize.operands.map((operand, i) =>
    normalized && i === quantize.operands.length - 1 ? operand : cutOperand(cut, operand),
  );
  const cutQuantize = derive(
    quantize,
    "quantize",
    inputs,
    quantize.attributes,
    quantize.results.map((result) => cutName(cut.slice, result)),
  );
  const moved = (operand: Value): Value => {
    const result = quantize.results.indexOf(operand);
    return result < 0 ? cutOperand(cut, operand) : cutQuantize.results[result]!;
  };
  const operands = [moved(codes), moved(sum), weight, ...extras.map(moved)];
  return remake(cut.slice, "ternary_matmul", operands, node.attributes).results;
}

export const sinkSlices = definePass("sink-slices", () => [uniqueNodes(["slice"]), sink]);
