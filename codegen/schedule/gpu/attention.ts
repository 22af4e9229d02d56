import type { NodeOf, Value } from "../../../ir/graph.ts";
import { bufferArgument, type DraftArgument, i32Argument, type Place } from "../draft.ts";
import type { TargetLimits } from "../limits.ts";
import type { RuleContext } from "../rules.ts";
import { type AttentionShape, attentionOperands } from "../sequence-operands.ts";
import { ceilDiv, isMultiple, product } from "../symbols.ts";
import { isContiguous } from "../view.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP, TILE_EDGE, tile } from "./grid.ts";

/** Tiles of queries times keys, for few queries that share keys. */
const fewQueries = { ...tile, rowThreads: 2, edge: 2 } as const;

export function attentionRule(node: NodeOf<"attention">, context: RuleContext): void {
  const { arguments: shared, shape, cached, keys, values } = attentionOperands(node, context);
  const { batch, seq, heads, kvHeads, dim } = shape;
  if (cached && decodes(shape, [keys, values], context.limits)) {
    const inCache = { cos: shared.q!, sin: shared.q!, ...noOffsets };
    decodeAttention(node.results[0]!, shape, { ...shared, ...inCache }, false, context);
    return;
  }
  const sharing = product(seq, heads / kvHeads);
  const few = context.upperBound(sharing) <= fewQueries.rowThreads * fewQueries.edge;
  context.call(
    {
      template: "attention",
      name: ["attention", ...(cached ? ["cached"] : []), ...(few ? ["few"] : [])].join("_"),
      options: { ...(few ? fewQueries : tile), cached, dim },
      arguments: { ...shared, out: bufferArgument(context.allocate(node.results[0]!)) },
    },
    [ceilDiv(sharing, few ? fewQueries.rowThreads * fewQueries.edge : TILE_EDGE), product(batch, kvHeads)],
  );
}

/** Keys of a workgroup of attention over a cache by one query a sequence. */
const KEYS = 64;
const QUAD_BYTES = 16;

/**
 * Such a workgroup reads its keys and values once, so it is as fast as loads are many at a time: four invocations a
 * key where a head is long enough to keep them busy with the values too, eight rows at a time.
 */
function decodeWorkgroup(dim: number): number {
  return dim >= 128 ? 256 : dim >= 64 ? 128 : 64;
}

/** What attention-decode never reads where the caches have the new rows. */
const noOffsets = {
  length: i32Argument(0),
  qOffset: i32Argument(0),
  keyOffset: i32Argument(0),
  valueOffset: i32Argument(0),
} as const;

/** Whether attention-decode computes such heads over such caches: read four elements at a time, with room for all. */
export function decodes(
  { seq, heads, kvHeads, dim }: AttentionShape,
  caches: readonly Place[],
  { sharedBytes }: TargetLimits,
): boolean {
  const together = heads / kvHeads;
  const queries = together * (dim / 4) * QUAD_BYTES;
  const newRow = 2 * (dim / 4) * QUAD_BYTES;
  const scores = 4 * together * KEYS;
  const workgroupSize = decodeWorkgroup(dim);
  const rest = 4 * 4 * workgroupSize + 256;
  return (
    seq === 1 &&
    dim % 4 === 0 &&
    dim <= 4 * workgroupSize &&
    queries + newRow + scores + rest <= sharedBytes &&
    caches.every((place) => isContiguous(place) && isMultiple(place.offset, 4))
  );
}

/**
 * One query a sequence: workgroups share the keys, and what they found is brought together where it is read. With
 * `fresh` the new rows of the caches are made on the way.
 */
export function decodeAttention(
  result: Value,
  shape: AttentionShape,
  shared: Readonly<Record<string, DraftArgument>>,
  fresh: boolean,
  context: RuleContext,
): void {
  const { batch, heads, kvHeads, dim, capacity } = shape;
  const splits = Math.ceil(context.upperBound(capacity) / KEYS);
  const whole = splits === 1;
  const found = bufferArgument(
    whole
      ? context.allocate(result)
      : context.temporary("partial attention", "f32", [batch, heads, splits, dim + 2]),
  );
  context.call(
    {
      template: "attention-decode",
      name: fresh ? "rope_cache_attention_decode" : "attention_decode",
      options: {
        workgroupSize: decodeWorkgroup(dim),
        keys: KEYS,
        dim,
        together: heads / kvHeads,
        fresh,
        whole,
      },
      arguments: { ...shared, out: found },
    },
    [splits, product(batch, kvHeads)],
  );
  if (whole) return;
  const parts = {
    partials: found,
    positions: shared.positions!,
    heads: i32Argument(heads),
    dim: i32Argument(dim),
    splits: i32Argument(splits),
    keys: i32Argument(KEYS),
    capacity: i32Argument(capacity),
  };
  const element = context.helper("combined-attention");
  const computed = {
    element,
    arguments: element.parameters.slice(0, -1).map(({ name }) => parts[name as keyof typeof parts]),
  };
  context.defer(result, computed, (out) =>
    context.call(
      {
        template: "attention-combine",
        name: "attention_combine",
        options: { workgroupSize: PAIRWISE_WORKGROUP },
        arguments: { ...parts, out: bufferArgument(out), batch: i32Argument(batch) },
      },
      elementwiseGrid(product(batch, heads, dim), context),
    ),
  );
}
