/**
 * Attention over caches that get new rows first: rope of q and k, a cache_write of each of k and v, and attention. q, k
 * and v are parts of one product's rows, as merge-projections leaves them.
 */
import { type Node, type NodeOf, producer, type Value } from "../../../ir/graph.ts";
import type { OpName } from "../../../ir/ops/index.ts";
import type { Dim } from "../../../ir/types.ts";
import type { SymbolExpr } from "../../../runtime/manifest.ts";
import { type BufferArgument, bufferArgument, f32Argument, i32Argument, touching } from "../draft.ts";
import type { Pattern } from "../groups.ts";
import { spacedHeadRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { attentionShape, cacheInPlace, rotations } from "../sequence-operands.ts";
import { product, sameExpr } from "../symbols.ts";
import { attentionRule, decodeAttention, decodes } from "./attention.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP } from "./grid.ts";

const F32_BYTES = 4;

/** The nodes, in the order of the graph. */
interface CachedAttention {
  readonly turnQuery: NodeOf<"rope">;
  readonly turnKey: NodeOf<"rope">;
  readonly writeKey: NodeOf<"cache_write">;
  readonly writeValue: NodeOf<"cache_write">;
  readonly attention: NodeOf<"attention">;
}

export const cachedAttention: Pattern = (last, readers) => {
  if (last.op !== "attention" || last.operands.length < 5) return undefined;
  const [q, k, v, slots, positions] = last.operands as [Value, Value, Value, Value, Value];
  const [writeKey, writeValue] = [made("cache_write", k), made("cache_write", v)];
  if (!writeKey || !writeValue) return undefined;
  const newKey = writeKey.operands[1]!;
  const [turnQuery, turnKey] = [made("rope", q), made("rope", newKey)];
  if (!turnQuery || !turnKey) return undefined;
  const [, cos, sin] = turnQuery.operands as [Value, Value, Value];
  const nodes: readonly Node[] = [turnQuery, turnKey, writeKey, writeValue, last];
  const rows = [turnQuery.operands[0]!, turnKey.operands[0]!, writeValue.operands[1]!];
  const caches = [writeKey.operands[0]!, writeValue.operands[0]!];
  const readsLast = (node: Node, ...values: readonly Value[]) =>
    sameValues(node.operands.slice(-values.length), values);
  const fits =
    readsLast(turnQuery, cos, sin, positions) &&
    readsLast(turnKey, cos, sin, positions) &&
    readsLast(writeKey, slots, positions) &&
    readsLast(writeValue, slots, positions) &&
    // One kernel makes all of them from what is there before: values may not be turned keys, nor written over keys.
    [...rows, ...caches].every((value) => !nodes.some((node) => node.results.includes(value))) &&
    [q, k, v, newKey].every((value) => readers.of(value).every((node) => nodes.includes(node))) &&
    // Caches lie in memory for anybody.
    [q, newKey].every((value) => !readers.isResult(value));
  if (!fits) return undefined;
  const group = { turnQuery, turnKey, writeKey, writeValue, attention: last };
  return { nodes, schedule: (context) => schedule(group, context) };
};

function made<Op extends OpName>(op: Op, value: Value): NodeOf<Op> | undefined {
  const node = producer(value);
  return node?.op === op ? (node as NodeOf<OpName> as NodeOf<Op>) : undefined;
}

function sameValues(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function schedule(group: CachedAttention, context: RuleContext): boolean {
  const { turnQuery, writeKey, writeValue, attention } = group;
  const rows = newRows(group, context);
  const keys = cacheInPlace(writeKey.operands[0]!, context);
  const values = cacheInPlace(writeValue.operands[0]!, context);
  if (rows === undefined || keys === undefined || values === undefined) return false;
  context.assign(writeKey.results[0]!, keys);
  context.assign(writeValue.results[0]!, values);
  const shape = attentionShape(attention, context);
  const { batch, seq, heads, kvHeads, dim } = shape;
  const [, cos, sin, positions] = turnQuery.operands as [Value, Value, Value, Value];
  const [length, half] = context.dims(cos) as [Dim, Dim];
  const written = product(batch, seq, kvHeads, dim, F32_BYTES);
  const caches = { keys: bufferArgument(keys), values: bufferArgument(values) };
  const shared = {
    cos: rotations(cos, product(batch, seq), context),
    sin: rotations(sin, product(batch, seq), context),
    slots: bufferArgument(context.contiguous(writeKey.operands[2]!)),
    positions: bufferArgument(context.contiguous(positions)),
    kvHeads: i32Argument(kvHeads),
    capacity: i32Argument(shape.capacity),
    length: i32Argument(length),
    qOffset: i32Argument(rows.offsets[0]),
    keyOffset: i32Argument(rows.offsets[1]),
    valueOffset: i32Argument(rows.offsets[2]),
  };
  if (decodes(shape, [keys, values], context.limits)) {
    const own = {
      keys: { ...caches.keys, written },
      values: { ...caches.values, written },
      q: rows.argument,
      qStride: i32Argument(rows.stride),
      scale: f32Argument(Math.fround(attention.attributes.scale)),
    };
    decodeAttention(attention.results[0]!, shape, { ...shared, ...own }, true, context);
    return true;
  }
  context.call(
    {
      template: "rope-cache",
      name: "rope_cache",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: {
        ...shared,
        keys: touching(caches.keys, written),
        values: touching(caches.values, written),
        x: rows.argument,
        xStride: i32Argument(rows.stride),
        out: bufferArgument(context.allocate(turnQuery.results[0]!)),
        rows: i32Argument(product(batch, seq)),
        seq: i32Argument(seq),
        heads: i32Argument(heads),
        dim: i32Argument(dim),
      },
    },
    elementwiseGrid(product(batch, seq, heads + 2 * kvHeads, half), context),
  );
  attentionRule(attention, context);
  return true;
}

interface NewRows {
  /** The buffer that has q, k and v. */
  readonly argument: BufferArgument;
  /** Elements between (batch, seq) rows. */
  readonly stride: SymbolExpr;
  /** Where the first row of each starts, in elements. */
  readonly offsets: readonly [q: SymbolExpr, k: SymbolExpr, v: SymbolExpr];
}

/** q, k and v if they lie in one buffer and are equally spaced. */
function newRows(
  { turnQuery, turnKey, writeValue }: CachedAttention,
  context: RuleContext,
): NewRows | undefined {
  const parts = [turnQuery.operands[0]!, turnKey.operands[0]!, writeValue.operands[1]!];
  const [q, k, v] = parts.map((value) => spacedHeadRows(value, context));
  if (!q || !k || !v) return undefined;
  const { buffer, dims } = q.place;
  const isOneRow = product(dims[0]!, dims[1]!) === 1;
  const together = [k, v].every(
    ({ place, stride }) => place.buffer === buffer && (isOneRow || sameExpr(stride, q.stride)),
  );
  if (!together) return undefined;
  return {
    argument: { kind: "buffer", storage: buffer, offset: 0, bytes: buffer.bytes },
    stride: q.stride,
    offsets: [q.place.offset, k.place.offset, v.place.offset],
  };
}
