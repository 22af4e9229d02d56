/** What the templates of gradients, and of the loss, take on every target alike. */
import type { NodeOf, Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import { bufferArgument, type DraftArgument, f32Argument, i32Argument } from "./draft.ts";
import { type HeadRows, headRows, leadingRows, unitRows } from "./operands.ts";
import type { RuleContext } from "./rules.ts";
import { elementCount } from "./symbols.ts";

type Arguments = Readonly<Record<string, DraftArgument>>;

function lossOperands(node: NodeOf<"cross_entropy" | "cross_entropy_gradient">, context: RuleContext) {
  const [logits, targets] = node.operands as [Value, Value];
  const { place, rowStride } = unitRows(logits, context);
  const rows = leadingRows(logits, context);
  const k = context.dims(logits).at(-1)!;
  const shared: Arguments = {
    logits: bufferArgument(place),
    targets: bufferArgument(context.contiguous(targets)),
    rows: i32Argument(rows),
    k: i32Argument(k),
    stride: i32Argument(rowStride),
    ignored: i32Argument(node.attributes.ignore_index),
  };
  return { arguments: shared, rows, k };
}

/** The arguments of cross_entropy, and its rows of k logits. */
export function crossEntropyOperands(node: NodeOf<"cross_entropy">, context: RuleContext) {
  const [loss, logSum] = node.results as [Value, Value];
  const operands = lossOperands(node, context);
  const results: Arguments = {
    loss: bufferArgument(context.allocate(loss)),
    logSum: bufferArgument(context.allocate(logSum)),
  };
  return { ...operands, arguments: { ...operands.arguments, ...results } };
}

/** Likewise of its gradient. */
export function crossEntropyGradientOperands(node: NodeOf<"cross_entropy_gradient">, context: RuleContext) {
  const [, , logSum, g] = node.operands as [Value, Value, Value, Value];
  const operands = lossOperands(node, context);
  const own: Arguments = {
    logSum: bufferArgument(context.contiguous(logSum)),
    g: bufferArgument(context.contiguous(g)),
    out: bufferArgument(context.allocate(node.results[0]!)),
  };
  return { ...operands, arguments: { ...operands.arguments, ...own } };
}

/** The arguments of embedding_gradient, the table it makes, and the rows it adds to it. */
export function embeddingGradientOperands(node: NodeOf<"embedding_gradient">, context: RuleContext) {
  const [g, ids] = node.operands as [Value, Value];
  const [vocabulary, width] = node.results[0]!.type.dims as [number, number];
  const { place, rowStride } = unitRows(g, context);
  const rows = elementCount(context.dims(ids));
  const table = context.allocate(node.results[0]!);
  const shared: Arguments = {
    g: bufferArgument(place),
    ids: bufferArgument(context.contiguous(ids)),
    out: bufferArgument(table),
    rows: i32Argument(rows),
    vocabulary: i32Argument(vocabulary),
    width: i32Argument(width),
    gStride: i32Argument(rowStride),
  };
  return { arguments: shared, table, rows, width };
}

/** The arguments of both kernels of rms_norm_gradient, and its rows of k values. */
export function rmsNormGradientOperands(node: NodeOf<"rms_norm_gradient">, context: RuleContext) {
  const [x, w, g] = node.operands as [Value, Value, Value];
  const [dx, dw] = node.results as [Value, Value];
  const rows = leadingRows(x, context);
  const k = context.dims(dx).at(-1)!;
  const [inputs, gradients] = [unitRows(x, context), unitRows(g, context)];
  const shared: Arguments = {
    x: bufferArgument(inputs.place),
    weight: bufferArgument(context.contiguous(w)),
    g: bufferArgument(gradients.place),
    dx: bufferArgument(context.allocate(dx)),
    dw: bufferArgument(context.allocate(dw)),
    roots: bufferArgument(context.temporary("reciprocal roots", "f32", context.dims(x).slice(0, -1))),
    rows: i32Argument(rows),
    k: i32Argument(k),
    xStride: i32Argument(inputs.rowStride),
    gStride: i32Argument(gradients.rowStride),
    eps: f32Argument(Math.fround(node.attributes.eps)),
  };
  return { arguments: shared, rows, k };
}

/** The arguments of attention_gradient, and its sizes. */
export function attentionGradientOperands(node: NodeOf<"attention_gradient">, context: RuleContext) {
  const [batch, seq, heads, dim] = context.dims(node.operands[0]!) as [Dim, Dim, number, number];
  const kvHeads = context.dims(node.operands[1]!)[2] as number;
  const [q, keys, values, g] = node.operands.map((operand) => headRows(operand, context)) as [
    HeadRows,
    HeadRows,
    HeadRows,
    HeadRows,
  ];
  const [dq, dk, dv] = node.results.map((result) => bufferArgument(context.allocate(result)));
  const shared: Arguments = {
    q: bufferArgument(q.place),
    keys: bufferArgument(keys.place),
    values: bufferArgument(values.place),
    g: bufferArgument(g.place),
    dq: dq!,
    dk: dk!,
    dv: dv!,
    seq: i32Argument(seq),
    heads: i32Argument(heads),
    kvHeads: i32Argument(kvHeads),
    dim: i32Argument(dim),
    qStride: i32Argument(q.stride),
    keyStride: i32Argument(keys.stride),
    valueStride: i32Argument(values.stride),
    gStride: i32Argument(g.stride),
    scale: f32Argument(Math.fround(node.attributes.scale)),
  };
  return { arguments: shared, shape: { batch, seq, heads, kvHeads, dim } };
}
