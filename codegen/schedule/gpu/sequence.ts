import type { NodeOf, Value } from "../../../ir/graph.ts";
import { bufferArgument, i32Argument } from "../draft.ts";
import { type HeadRows, headRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, product } from "../symbols.ts";
import { isContiguous } from "../view.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP, TILE_EDGE, tile } from "./grid.ts";

export function ropeRule(node: NodeOf<"rope">, context: RuleContext): void {
  const [x, cos, sin, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x);
  const input = headRows(x, context);
  const rows = product(batch!, seq!);
  context.call(
    {
      template: "rope",
      name: "rope",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: {
        x: bufferArgument(input.place),
        cos: bufferArgument(context.contiguous(cos)),
        sin: bufferArgument(context.contiguous(sin)),
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
        cache: bufferArgument(place),
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
  const out = bufferArgument(context.allocate(node.results[0]!));
  const sharing = product(seq, heads / kvHeads);
  const few = context.upperBound(sharing) <= fewQueries.rowThreads * fewQueries.edge;
  context.call(
    {
      template: "attention",
      name: ["attention", ...(cached ? ["cached"] : []), ...(few ? ["few"] : [])].join("_"),
      options: { ...(few ? fewQueries : tile), cached, dim },
      arguments: {
        q: bufferArgument(queries.place),
        keys: bufferArgument(keys.place),
        values: bufferArgument(values.place),
        // Never read without a cache.
        slots: cached ? bufferArgument(context.contiguous(slots)) : out,
        positions: cached ? bufferArgument(context.contiguous(positions)) : out,
        out,
        seq: i32Argument(seq),
        heads: i32Argument(heads),
        kvHeads: i32Argument(kvHeads),
        capacity: i32Argument(capacity),
        qStride: i32Argument(queries.stride),
        keyStride: i32Argument(keys.stride),
        valueStride: i32Argument(values.stride),
        scale: { kind: "f32", value: Math.fround(node.attributes.scale) },
      },
    },
    [ceilDiv(sharing, few ? fewQueries.rowThreads * fewQueries.edge : TILE_EDGE), product(batch, kvHeads)],
  );
}
