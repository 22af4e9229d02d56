import type { NodeOf, Value } from "../../../ir/graph.ts";
import { bufferArgument, i32Argument, touching } from "../draft.ts";
import { type HeadRows, headRows } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { product } from "../symbols.ts";
import { isContiguous } from "../view.ts";

/** The element type of scores and of one lane of scratch. */
const F32_BYTES = 4;
/** Query heads an attention work item may hold scores for. */
const SCORE_ROWS = 4;

export function ropeRule(node: NodeOf<"rope">, context: RuleContext): void {
  const [x, cos, sin, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x);
  const rows = headRows(x, context);
  /** One row of a table for each position. */
  const rotations = (table: Value) =>
    touching(
      bufferArgument(context.contiguous(table)),
      product(batch!, seq!, context.dims(table)[1]!, F32_BYTES),
    );
  context.call(
    {
      template: "rope",
      name: "rope",
      options: {},
      arguments: {
        x: bufferArgument(rows.place),
        cos: rotations(cos),
        sin: rotations(sin),
        positions: bufferArgument(context.contiguous(positions)),
        out: bufferArgument(context.allocate(node.results[0]!)),
        seq: i32Argument(seq!),
        heads: i32Argument(heads!),
        dim: i32Argument(dim!),
        length: i32Argument(context.dims(cos)[0]!),
        xStride: i32Argument(rows.stride),
      },
    },
    product(batch!, seq!),
  );
}

export function cacheWriteRule(node: NodeOf<"cache_write">, context: RuleContext): void {
  const [cache, x, slots, positions] = node.operands as [Value, Value, Value, Value];
  const [batch, seq, heads, dim] = context.dims(x);
  const rows = headRows(x, context);
  // A state whose inner dims are symbols has gaps, which the kernel does not know.
  const inPlace = context.mayOverwrite(cache) && isContiguous(context.place(cache));
  const place = inPlace ? context.place(cache) : context.copy(context.place(cache), "cache copy");
  context.assign(node.results[0]!, place);
  context.call(
    {
      template: "cache-write",
      name: "cache_write",
      options: {},
      arguments: {
        cache: touching(bufferArgument(place), bufferArgument(rows.place).bytes),
        x: bufferArgument(rows.place),
        slots: bufferArgument(context.contiguous(slots)),
        positions: bufferArgument(context.contiguous(positions)),
        seq: i32Argument(seq!),
        capacity: i32Argument(context.dims(cache)[1]!),
        width: i32Argument(product(heads!, dim!)),
        xStride: i32Argument(rows.stride),
      },
    },
    product(batch!, seq!),
  );
}

export function attentionRule(node: NodeOf<"attention">, context: RuleContext): void {
  const [q, k, v, slots, positions] = node.operands as [Value, Value, Value, Value?, Value?];
  const [batch, seq, heads, dim] = context.dims(q);
  const [, capacity, kvHeads] = context.dims(k);
  const cached = slots !== undefined && positions !== undefined;
  const [queries, keys, values] = [q, k, v].map((value) => headRows(value, context)) as [
    HeadRows,
    HeadRows,
    HeadRows,
  ];
  const out = bufferArgument(context.allocate(node.results[0]!));
  const rows = Math.ceil(context.upperBound(capacity!) / 4) * 4;
  context.needScratch(SCORE_ROWS * rows * F32_BYTES);
  context.call(
    {
      template: "attention",
      name: cached ? "attention_cached" : "attention",
      options: { cached },
      arguments: {
        q: bufferArgument(queries.place),
        keys: bufferArgument(keys.place),
        values: bufferArgument(values.place),
        // Never read without a cache.
        slots: cached ? bufferArgument(context.contiguous(slots)) : out,
        positions: cached ? bufferArgument(context.contiguous(positions)) : out,
        out,
        scratch: { kind: "scratch" },
        seq: i32Argument(seq!),
        heads: i32Argument(heads!),
        kvHeads: i32Argument(kvHeads!),
        dim: i32Argument(dim!),
        capacity: i32Argument(capacity!),
        qStride: i32Argument(queries.stride),
        keyStride: i32Argument(keys.stride),
        valueStride: i32Argument(values.stride),
        scale: { kind: "f32", value: Math.fround(node.attributes.scale) },
      },
    },
    product(batch!, seq!, heads!),
  );
}
