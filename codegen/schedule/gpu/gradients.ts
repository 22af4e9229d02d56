import type { NodeOf } from "../../../ir/graph.ts";
import { literal } from "../../../ir/scalar.ts";
import { bufferArgument } from "../draft.ts";
import { elementwiseCall } from "../elementwise.ts";
import {
  attentionGradientOperands,
  crossEntropyGradientOperands,
  crossEntropyOperands,
  embeddingGradientOperands,
  rmsNormGradientOperands,
} from "../gradient-operands.ts";
import type { RuleContext } from "../rules.ts";
import { ceilDiv, product } from "../symbols.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP, reductionShape, strided } from "./grid.ts";

/** Invocations of a workgroup that takes a row of so many values. */
const rowWorkgroup = (k: number): number => (k <= 1024 ? 64 : 256);

export function crossEntropyRule(node: NodeOf<"cross_entropy">, context: RuleContext): void {
  const { arguments: shared, rows, k } = crossEntropyOperands(node, context);
  const options = { workgroupSize: rowWorkgroup(context.upperBound(k)) };
  context.call(
    { template: "cross-entropy", name: "cross_entropy", options, arguments: shared },
    strided(rows, context),
  );
}

export function crossEntropyGradientRule(node: NodeOf<"cross_entropy_gradient">, context: RuleContext): void {
  const { arguments: shared, rows, k } = crossEntropyGradientOperands(node, context);
  const options = { workgroupSize: rowWorkgroup(context.upperBound(k)) };
  context.call(
    { template: "cross-entropy-gradient", name: "cross_entropy_gradient", options, arguments: shared },
    strided(rows, context),
  );
}

export function embeddingGradientRule(node: NodeOf<"embedding_gradient">, context: RuleContext): void {
  const { arguments: shared, table, rows, width } = embeddingGradientOperands(node, context);
  const links = bufferArgument(
    context.temporary("rows with equal ids", "i32", [...context.dims(node.operands[1]!), 2]),
  );
  context.generate(elementwiseCall(literal(0), [], table, context.code));
  context.call(
    {
      template: "embedding-gradient-links",
      name: "embedding_gradient_links",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: { ...shared, links },
    },
    elementwiseGrid(rows, context),
  );
  context.call(
    {
      template: "embedding-gradient",
      name: "embedding_gradient",
      options: { workgroupSize: rowWorkgroup(width) },
      arguments: { ...shared, links },
    },
    strided(rows, context),
  );
}

export function rmsNormGradientRule(node: NodeOf<"rms_norm_gradient">, context: RuleContext): void {
  const { arguments: shared, rows, k } = rmsNormGradientOperands(node, context);
  context.call(
    {
      template: "rms-norm-gradient",
      name: "rms_norm_gradient",
      options: { workgroupSize: rowWorkgroup(context.upperBound(k)) },
      arguments: shared,
    },
    strided(rows, context),
  );
  const options = reductionShape(rows, k, context);
  context.call(
    { template: "rms-norm-weight-gradient", name: "rms_norm_weight_gradient", options, arguments: shared },
    strided(ceilDiv(k, options.columns), context),
  );
}

/**
 * Tiles of queries times keys. An invocation has elements of each query's result, or of two results of each key, in
 * registers: a long head has a larger workgroup, so that they are few.
 */
function gradientTile(dim: number) {
  const long = { workgroupSize: 128, rowThreads: 16, edge: 2, subgroups: false } as const;
  const short = { workgroupSize: 64, rowThreads: 8, edge: 2, subgroups: false } as const;
  return dim > 64 ? long : short;
}

export function attentionGradientRule(node: NodeOf<"attention_gradient">, context: RuleContext): void {
  const { arguments: operands, shape } = attentionGradientOperands(node, context);
  const { batch, seq, heads, kvHeads, dim } = shape;
  const statistics = bufferArgument(
    context.temporary("statistics of queries", "f32", [batch, seq, heads, 4]),
  );
  const tile = gradientTile(dim);
  const options = { ...tile, owned: Math.ceil(dim / tile.workgroupSize) };
  const { workgroupSize, rowThreads, edge } = options;
  const queryTiles = ceilDiv(product(seq, heads / kvHeads), rowThreads * edge);
  const keyTiles = ceilDiv(seq, (workgroupSize / rowThreads) * edge);
  for (const [template, tiles] of [
    ["attention-statistics", queryTiles],
    ["attention-query-gradient", queryTiles],
    ["attention-key-gradient", keyTiles],
  ] as const) {
    context.call(
      {
        template,
        name: template.replaceAll("-", "_"),
        options,
        arguments: { ...operands, statistics },
      },
      [tiles, product(batch, kvHeads)],
    );
  }
}
