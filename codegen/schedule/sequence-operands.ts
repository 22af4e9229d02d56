/** What the templates of ops over sequences take, on every target alike. */
import type { NodeOf, Value } from "../../ir/graph.ts";
import type { Dim } from "../../ir/types.ts";
import type { SymbolExpr } from "../../runtime/manifest.ts";
import {
  type BufferArgument,
  bufferArgument,
  type DraftArgument,
  f32Argument,
  i32Argument,
  type Place,
  touching,
} from "./draft.ts";
import { type HeadRows, headRows } from "./operands.ts";
import type { RuleContext } from "./rules.ts";
import { product } from "./symbols.ts";
import { isContiguous } from "./view.ts";

const F32_BYTES = 4;

type Arguments = Readonly<Record<string, DraftArgument>>;

/** A table of rotations, of which each of `rows` reads a row. */
export function rotations(table: Value, rows: SymbolExpr, context: RuleContext): BufferArgument {
  const width = context.dims(table)[1]!;
  return touching(bufferArgument(context.contiguous(table)), product(rows, width, F32_BYTES));
}

/** The arguments of rope, and its rows and the pairs of lanes that it turns. */
export function ropeOperands(node: NodeOf<"rope">, context: RuleContext) {
  const [x, cos, sin, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x) as [Dim, Dim, Dim, Dim];
  const [length, half] = context.dims(cos) as [Dim, Dim];
  const { place, stride } = headRows(x, context);
  const rows = product(batch, seq);
  const shared: Arguments = {
    x: bufferArgument(place),
    cos: rotations(cos, rows, context),
    sin: rotations(sin, rows, context),
    positions: bufferArgument(context.contiguous(positions)),
    out: bufferArgument(context.allocate(node.results[0]!)),
    rows: i32Argument(rows),
    seq: i32Argument(seq),
    heads: i32Argument(heads),
    dim: i32Argument(dim),
    length: i32Argument(length),
    xStride: i32Argument(stride),
  };
  return { arguments: shared, rows, pairs: product(rows, heads, half) };
}

/** Where a cache is written in place; undefined where others read it as it was, or where it has gaps. */
export function cacheInPlace(cache: Value, context: RuleContext): Place | undefined {
  // A state whose inner dims are symbols has gaps, which kernels do not know.
  const place = context.place(cache);
  return context.mayOverwrite(cache) && isContiguous(place) ? place : undefined;
}

/** The arguments of cache_write, and how much it writes: in place, or to a copy. */
export function cacheWriteOperands(node: NodeOf<"cache_write">, context: RuleContext) {
  const [cache, x, slots, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x) as [Dim, Dim, Dim, Dim];
  const input = headRows(x, context);
  const place = cacheInPlace(cache, context) ?? context.copy(context.place(cache), "cache copy");
  context.assign(node.results[0]!, place);
  const rows = product(batch, seq);
  const width = product(heads, dim);
  const shared: Arguments = {
    cache: touching(bufferArgument(place), bufferArgument(input.place).bytes),
    x: bufferArgument(input.place),
    slots: bufferArgument(context.contiguous(slots)),
    positions: bufferArgument(context.contiguous(positions)),
    rows: i32Argument(rows),
    seq: i32Argument(seq),
    capacity: i32Argument(context.dims(cache)[1]!),
    width: i32Argument(width),
    xStride: i32Argument(input.stride),
  };
  return { arguments: shared, rows, elements: product(rows, width) };
}

/** The sizes of an attention. */
export interface AttentionShape {
  readonly batch: Dim;
  readonly seq: Dim;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  /** Rows of a cache slot; without a cache, seq. */
  readonly capacity: SymbolExpr;
}

export function attentionShape(node: NodeOf<"attention">, context: RuleContext): AttentionShape {
  const [q, k] = node.operands as [Value, Value];
  const [batch, seq, heads, dim] = context.dims(q) as [Dim, Dim, number, number];
  const [, capacity, kvHeads] = context.dims(k) as [Dim, Dim, number];
  return { batch, seq, heads, kvHeads, dim, capacity };
}

/** The arguments of attention without the result, its shape, and where its keys and values lie. */
export function attentionOperands(node: NodeOf<"attention">, context: RuleContext) {
  const [q, k, v, slots, positions] = node.operands as [Value, Value, Value, Value?, Value?];
  const shape = attentionShape(node, context);
  const cached = slots !== undefined && positions !== undefined;
  const [queries, keys, values] = [q, k, v].map((value) => headRows(value, context)) as [
    HeadRows,
    HeadRows,
    HeadRows,
  ];
  const query = bufferArgument(queries.place);
  const shared: Arguments = {
    q: query,
    keys: bufferArgument(keys.place),
    values: bufferArgument(values.place),
    // Never read without a cache.
    slots: cached ? bufferArgument(context.contiguous(slots)) : query,
    positions: cached ? bufferArgument(context.contiguous(positions)) : query,
    seq: i32Argument(shape.seq),
    heads: i32Argument(shape.heads),
    kvHeads: i32Argument(shape.kvHeads),
    dim: i32Argument(shape.dim),
    capacity: i32Argument(shape.capacity),
    qStride: i32Argument(queries.stride),
    keyStride: i32Argument(keys.stride),
    valueStride: i32Argument(values.stride),
    scale: f32Argument(Math.fround(node.attributes.scale)),
  };
  return { arguments: shared, shape, cached, keys: keys.place, values: values.place };
}
