import type { NodeOf } from "../../../ir/graph.ts";
import { bufferArgument } from "../draft.ts";
import type { RuleContext } from "../rules.ts";
import { attentionOperands, cacheWriteOperands, ropeOperands } from "../sequence-operands.ts";
import { ceilDiv, product } from "../symbols.ts";

/** The element type of scores and of one lane of scratch. */
const F32_BYTES = 4;
/** Query heads a work item of attention over a cache may hold scores for. */
const SCORE_ROWS = 4;
/** Queries of a work item of attention without a cache. */
const QUERIES = 8;

export function ropeRule(node: NodeOf<"rope">, context: RuleContext): void {
  const { arguments: shared, rows } = ropeOperands(node, context);
  context.call({ template: "rope", name: "rope", options: {}, arguments: shared }, rows);
}

export function cacheWriteRule(node: NodeOf<"cache_write">, context: RuleContext): void {
  const { arguments: shared, rows } = cacheWriteOperands(node, context);
  context.call({ template: "cache-write", name: "cache_write", options: {}, arguments: shared }, rows);
}

export function attentionRule(node: NodeOf<"attention">, context: RuleContext): void {
  const { arguments: shared, shape, cached } = attentionOperands(node, context);
  const rows = Math.ceil(context.upperBound(shape.capacity) / 4) * 4;
  context.needScratch(cached ? SCORE_ROWS * rows * F32_BYTES : queryBlockBytes(shape.dim, rows));
  context.call(
    {
      template: cached ? "cached-attention" : "causal-attention",
      name: cached ? "attention_cached" : "attention",
      options: {},
      arguments: {
        ...shared,
        out: bufferArgument(context.allocate(node.results[0]!)),
        scratch: { kind: "scratch" },
      },
    },
    product(shape.batch, cached ? shape.seq : ceilDiv(shape.seq, QUERIES), shape.heads),
  );
}

/** Memory for the queries of templates/cpu/query-block.ts, and for what each of them has for `rows` keys. */
export function queryBlockBytes(dim: number, rows: number): number {
  return QUERIES * (dim + rows) * F32_BYTES;
}
