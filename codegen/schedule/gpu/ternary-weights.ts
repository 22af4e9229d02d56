/** Ternary weights of the run: latent weights that training quantizes anew in every step. */
import type { NodeOf } from "../../../ir/graph.ts";
import { bufferArgument, i32Argument } from "../draft.ts";
import { readsCodes, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";
import { ternaryBlocks } from "../weights.ts";
import { elementwiseGrid, PAIRWISE_WORKGROUP, rowShape, strided } from "./grid.ts";

/** Codes in a word, and rows that lie interleaved. */
const WORD_CODES = 16;
const BLOCK_CODES = 64;
const INTERLEAVED_ROWS = 4;
/** Words of a sum of magnitudes. */
const SUM_WORDS = 4;

export function absmeanQuantizeRule(node: NodeOf<"absmean_quantize">, context: RuleContext): void {
  const result = node.results[0]!;
  const { scale } = node.attributes;
  const [n, k] = result.type.dims as [number, number];
  const group = typeof scale === "object" ? scale.group : k;
  context.allocateWeight(result, "ternary-scales");
  const shared = {
    weights: bufferArgument(context.contiguous(node.operands[0]!)),
    scales: weightArgument(context, result, "ternary-scales"),
    rows: i32Argument(n),
    k: i32Argument(k),
    groupSize: i32Argument(group),
  };
  const reducing = (length: number) => ({
    workgroupSize: rowShape(length, context).workgroupSize,
    subgroups: false,
  });
  if (scale === "tensor") {
    const sums = bufferArgument(context.temporary("sums of magnitudes", "u32", [n, SUM_WORDS]));
    context.call(
      {
        template: "absmean-row-sums",
        name: "absmean_row_sums",
        options: reducing(k),
        arguments: { ...shared, sums },
      },
      strided(n, context),
    );
    context.call(
      {
        template: "absmean-tensor-scale",
        name: "absmean_tensor_scale",
        options: reducing(n),
        arguments: { ...shared, sums, count: i32Argument(n * k) },
      },
      [1, 1],
    );
  } else {
    context.call(
      {
        template: "absmean-scales",
        name: "absmean_scales",
        options: reducing(group),
        arguments: shared,
      },
      strided(n * Math.ceil(k / group), context),
    );
  }
  if (!readsCodes(result, context)) return;
  context.allocateWeight(result, "ternary-codes");
  const words =
    Math.ceil(n / INTERLEAVED_ROWS) * INTERLEAVED_ROWS * ternaryBlocks(k, group) * (BLOCK_CODES / WORD_CODES);
  context.call(
    {
      template: "pack-ternary",
      name: "pack_ternary",
      options: { workgroupSize: PAIRWISE_WORKGROUP },
      arguments: { ...shared, codes: weightArgument(context, result, "ternary-codes") },
    },
    elementwiseGrid(words, context),
  );
}
