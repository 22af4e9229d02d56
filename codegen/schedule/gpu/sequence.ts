import type { NodeOf } from "../../../ir/graph.ts";
import type { RuleContext } from "../rules.ts";
import { cacheWriteOperands, ropeOperands } from "../sequence-operands.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP } from "./grid.ts";

const options = { workgroupSize: PAIRWISE_WORKGROUP } as const;

export function ropeRule(node: NodeOf<"rope">, context: RuleContext): void {
  const { arguments: shared, pairs } = ropeOperands(node, context);
  context.call(
    { template: "rope", name: "rope", options, arguments: shared },
    elementwiseGrid(pairs, context),
  );
}

export function cacheWriteRule(node: NodeOf<"cache_write">, context: RuleContext): void {
  const { arguments: shared, elements } = cacheWriteOperands(node, context);
  context.call(
    { template: "cache-write", name: "cache_write", options, arguments: shared },
    elementwiseGrid(elements, context),
  );
}
