import type { NodeOf, Value } from "../../../ir/graph.ts";
import { bufferArgument, type DraftArgument, i32Argument } from "../draft.ts";
import { denseWeight, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { elementCount, product } from "../symbols.ts";

export function embeddingRule(node: NodeOf<"embedding">, context: RuleContext): void {
  const [w, ids] = node.operands as [Value, Value];
  const { encoding } = w.type;
  const [vocabulary, width] = w.type.dims as [number, number];
  const ternary = encoding?.kind === "ternary" ? encoding : undefined;
  const group = typeof ternary?.scale === "object" ? ternary.scale.group : undefined;
  const table = ternary
    ? {
        weight: "ternary",
        weights: weightArgument(context, w, "ternary-codes"),
        scales: weightArgument(context, w, "ternary-scales"),
      }
    : denseWeight(w, context);
  const grouped = group !== undefined;
  const rows = elementCount(context.dims(ids));
  /** A lookup touches its own rows of the table only. */
  const lookup = (argument: DraftArgument): DraftArgument => {
    if (argument.kind !== "buffer") return argument;
    const rowBytes = Math.ceil(context.upperBound(argument.bytes) / vocabulary);
    return { ...argument, bytes: product(rows, rowBytes) };
  };
  context.call(
    {
      template: "embedding",
      name: `embedding_${table.weight}${grouped ? "_grouped" : ""}`,
      options: { weight: table.weight, grouped },
      arguments: {
        weights: lookup(table.weights),
        scales: lookup(table.scales),
        ids: bufferArgument(context.contiguous(ids)),
        out: bufferArgument(context.allocate(node.results[0]!)),
        vocab: i32Argument(vocabulary),
        width: i32Argument(width),
        groupSize: i32Argument(group ?? width),
      },
    },
    rows,
  );
}
