import type { NodeOf, Value } from "../../../ir/graph.ts";
import { type BufferArgument, bufferArgument, i32Argument, touching } from "../draft.ts";
import { denseWeight, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { elementCount, product } from "../symbols.ts";
import { ternaryBlocks } from "../weights.ts";
import { pieceOf, pieces, strided } from "./grid.ts";
import { denseBytes, F32_BYTES } from "./matmul.ts";

export function embeddingRule(node: NodeOf<"embedding">, context: RuleContext): void {
  const [w, ids] = node.operands as [Value, Value];
  const [vocabulary, width] = w.type.dims as [number, number];
  const ternary = w.type.encoding?.kind === "ternary" ? w.type.encoding : undefined;
  const group = typeof ternary?.scale === "object" ? ternary.scale.group : undefined;
  const grouped = group !== undefined;
  const table = ternary
    ? {
        weight: "ternary" as const,
        weights: weightArgument(context, w, "ternary-codes"),
        scales: weightArgument(context, w, "ternary-scales"),
      }
    : denseWeight(w, context);
  const rowBytes =
    table.weight === "ternary" ? ternaryBlocks(width, group) * 16 : width * denseBytes[table.weight];
  const scaleBytes = Math.ceil(width / (group ?? width)) * F32_BYTES;
  const rows = elementCount(context.dims(ids));
  const out = bufferArgument(context.allocate(node.results[0]!));
  const indices = bufferArgument(context.contiguous(ids));
  /** A lookup touches its own rows of the table only. */
  const lookup = (argument: BufferArgument, bytes: number) => touching(argument, product(rows, bytes));
  const hasScales = table.weight === "ternary" || table.weight === "int8";
  for (const piece of pieces(vocabulary, rowBytes, context)) {
    const weights = lookup(pieceOf(table.weights, piece, vocabulary, rowBytes), rowBytes);
    context.call(
      {
        template: "embedding",
        name: `embedding_${table.weight}${grouped ? "_grouped" : ""}`,
        options: { workgroupSize: 64, subgroups: false, weight: table.weight, grouped },
        arguments: {
          weights,
          scales: hasScales
            ? lookup(pieceOf(table.scales, piece, vocabulary, scaleBytes), scaleBytes)
            : weights,
          ids: indices,
          out,
          rows: i32Argument(rows),
          vocab: i32Argument(vocabulary),
          width: i32Argument(width),
          groupSize: i32Argument(group ?? width),
          firstId: i32Argument(piece.first),
          count: i32Argument(piece.count),
        },
      },
      strided(rows, context),
    );
  }
}
