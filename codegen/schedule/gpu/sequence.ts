import type { NodeOf, Value } from "../../../ir/graph.ts";
import type { Dim } from "../../../ir/types.ts";
import { bufferArgument, type DraftArgument, i32Argument, type Place, touching } from "../draft.ts";
import type { TargetLimits } from "../limits.ts";
import { type HeadRows, headRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, isMultiple, product } from "../symbols.ts";
import { isContiguous } from "../view.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP, TILE_EDGE, tile } from "./grid.ts";

const F32_BYTES = 4;

export function ropeRule(node: NodeOf<"rope">, context: RuleContext): void {
  const [x, cos, sin, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x);
  const input = headRows(x, context);
  const rows = product(batch!, seq!);
  /** One row of a table for each position. */
  const rotations = (table: Value) =>
    touching(bufferArgument(context.contiguous(table)), product(rows, context.dims(table)[1]!, F32_BYTES));
  context.call(
    {
      template: "rope",
      name: "rope",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: {
        x: bufferArgument(input.place),
        cos: rotations(cos),
        sin: rotations(sin),
        positions: bufferArgument(context.contiguous(positions)),
        out: bufferArgument(context.allocate(node.results[0]!)),
        rows: i32Argument(rows),
        seq: i32Argument(seq!),
        heads: i32Argument(heads!),
        dim: i32Argument(dim!),
        length: i32Argument(context.dims(cos)[0]!),
        xStride: i32Argument(input.stride),
      },
    },
    elementwiseGrid(product(rows, heads!, context.dims(cos)[1]!), context),
  );
}

export function cacheWriteRule(node: NodeOf<"cache_write">, context: RuleContext): void {
  const [cache, x, slots, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x);
  const input = headRows(x, context);
  // A state whose inner dims are symbols has gaps, which the kernel does not know.
  const inPlace = context.mayOverwrite(cache) && isContiguous(context.place(cache));
  const place = inPlace ? context.place(cache) : context.copy(context.place(cache), "cache copy");
  context.assign(node.results[0]!, place);
  const rows = product(batch!, seq!);
  const width = product(heads!, dim!);
  context.call(
    {
      template: "cache-write",
      name: "cache_write",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: {
        cache: touching(bufferArgument(place), bufferArgument(input.place).bytes),
        x: bufferArgument(input.place),
        slots: bufferArgument(context.contiguous(slots)),
        positions: bufferArgument(context.contiguous(positions)),
        rows: i32Argument(rows),
        seq: i32Argument(seq!),
        capacity: i32Argument(context.dims(cache)[1]!),
        width: i32Argument(width),
        xStride: i32Argument(input.stride),
      },
    },
    elementwiseGrid(product(rows, width), context),
  );
}

/** Tiles of queries times keys, for few queries that share keys and for many. */
const fewQueries = { ...tile, rowThreads: 2, edge: 2 } as const;

export function attentionRule(node: NodeOf<"attention">, context: RuleContext): void {
  const [q, k, v, slots, positions] = node.operands as [Value, Value, Value, Value?, Value?];
  const [batch, seq, heads, dim] = context.dims(q) as [number, number, number, number];
  const [, capacity, kvHeads] = context.dims(k) as [number, number, number];
  const cached = slots !== undefined && positions !== undefined;
  const [queries, keys, values] = [q, k, v].map((value) => headRows(value, context)) as [
    HeadRows,
    HeadRows,
    HeadRows,
  ];
  const shared = {
    q: bufferArgument(queries.place),
    keys: bufferArgument(keys.place),
    values: bufferArgument(values.place),
    kvHeads: i32Argument(kvHeads),
    capacity: i32Argument(capacity),
    qStride: i32Argument(queries.stride),
    scale: { kind: "f32", value: Math.fround(node.attributes.scale) },
  } as const;
  const together = heads / kvHeads;
  if (cached && seq === 1 && decodes(dim, together, [keys.place, values.place], context.limits)) {
    const sequences = {
      slots: bufferArgument(context.contiguous(slots)),
      positions: bufferArgument(context.contiguous(positions)),
    };
    decodeAttention(
      node.results[0]!,
      { batch, heads, kvHeads, dim, capacity },
      { ...shared, ...sequences },
      context,
    );
    return;
  }
  const out = bufferArgument(context.allocate(node.results[0]!));
  const sharing = product(seq, together);
  const few = context.upperBound(sharing) <= fewQueries.rowThreads * fewQueries.edge;
  context.call(
    {
      template: "attention",
      name: ["attention", ...(cached ? ["cached"] : []), ...(few ? ["few"] : [])].join("_"),
      options: { ...(few ? fewQueries : tile), cached, dim },
      arguments: {
        ...shared,
        // Never read without a cache.
        slots: cached ? bufferArgument(context.contiguous(slots)) : out,
        positions: cached ? bufferArgument(context.contiguous(positions)) : out,
        out,
        seq: i32Argument(seq),
        heads: i32Argument(heads),
        keyStride: i32Argument(keys.stride),
        valueStride: i32Argument(values.stride),
      },
    },
    [ceilDiv(sharing, few ? fewQueries.rowThreads * fewQueries.edge : TILE_EDGE), product(batch, kvHeads)],
  );
}

/** A workgroup of attention over a cache by one query a sequence, and its keys. */
const decode = { workgroupSize: 64, keys: 64 } as const;
const QUAD_BYTES = 16;

/** Whether attention-decode computes such heads over such caches: read four elements at a time, with room for all. */
function decodes(
  dim: number,
  together: number,
  caches: readonly Place[],
  { sharedBytes }: TargetLimits,
): boolean {
  const queries = together * (dim / 4) * QUAD_BYTES;
  const scores = 4 * together * decode.keys;
  const rest = 4 * 4 * decode.workgroupSize + 256;
  return (
    dim % 4 === 0 &&
    dim <= 4 * decode.workgroupSize &&
    queries + scores + rest <= sharedBytes &&
    caches.every((place) => isContiguous(place) && isMultiple(place.offset, 4))
  );
}

interface DecodeShape {
  readonly batch: Dim;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly capacity: Dim;
}

/** One query a sequence: workgroups share the keys, and another step brings together what they found. */
function decodeAttention(
  result: Value,
  { batch, heads, kvHeads, dim, capacity }: DecodeShape,
  shared: Readonly<Record<string, DraftArgument>>,
  context: RuleContext,
): void {
  const splits = Math.ceil(context.upperBound(capacity) / decode.keys);
  const whole = splits === 1;
  const out = bufferArgument(context.allocate(result));
  const found = whole
    ? out
    : bufferArgument(context.temporary("partial attention", "f32", [batch, heads, splits, dim + 2]));
  context.call(
    {
      template: "attention-decode",
      name: "attention_decode",
      options: { ...decode, dim, together: heads / kvHeads, fresh: false, whole },
      arguments: {
        ...shared,
        // The cache has the new row, rotated.
        cos: out,
        sin: out,
        out: found,
        length: i32Argument(0),
        qOffset: i32Argument(0),
        keyOffset: i32Argument(0),
        valueOffset: i32Argument(0),
      },
    },
    [splits, product(batch, kvHeads)],
  );
  if (whole) return;
  context.call(
    {
      template: "attention-combine",
      name: "attention_combine",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: {
        partials: found,
        positions: shared.positions!,
        out,
        batch: i32Argument(batch),
        heads: i32Argument(heads),
        dim: i32Argument(dim),
        splits: i32Argument(splits),
        keys: i32Argument(decode.keys),
        capacity: i32Argument(capacity),
      },
    },
    elementwiseGrid(product(batch, heads, dim), context),
  );
}
