/** Ternary weights of the run: latent weights that training quantizes anew in every step. */
import type { NodeOf } from "../../../ir/graph.ts";
import { bufferArgument, i32Argument } from "../draft.ts";
import { readsCodes, weightArgument } from "../operands.ts";
import type { RuleContext } from "../rules.ts";

const F64_WORDS = 2;

export function absmeanQuantizeRule(node: NodeOf<"absmean_quantize">, context: RuleContext): void {
  const result = node.results[0]!;
  const { scale } = node.attributes;
  const [n, k] = result.type.dims as [number, number];
  const group = typeof scale === "object" ? scale.group : k;
  const groups = Math.ceil(k / group);
  const perTensor = scale === "tensor";
  context.allocateWeight(result, "ternary-scales");
  const weights = bufferArgument(context.contiguous(node.operands[0]!));
  const sums = bufferArgument(context.temporary("sums of magnitudes", "u32", [n, groups, F64_WORDS]));
  const alphas = bufferArgument(context.temporary("scales", "f32", [n, groups]));
  const shared = { k: i32Argument(k), groupSize: i32Argument(group) };
  context.call(
    {
      template: "absmean-sums",
      name: "absmean_sums",
      options: {},
      arguments: { ...shared, weights, sums },
    },
    n,
  );
  context.call(
    {
      template: "absmean-scales",
      name: perTensor ? "absmean_scale" : "absmean_scales",
      options: { perTensor },
      arguments: {
        ...shared,
        sums,
        alphas,
        scales: weightArgument(context, result, "ternary-scales"),
        rows: i32Argument(n),
      },
    },
    perTensor ? 1 : n,
  );
  if (!readsCodes(result, context)) return;
  context.allocateWeight(result, "ternary-codes");
  context.call(
    {
      template: "pack-ternary",
      name: "pack_ternary",
      options: {},
      arguments: {
        ...shared,
        weights,
        alphas,
        codes: weightArgument(context, result, "ternary-codes"),
        alphaStride: i32Argument(groups),
        firstRow: i32Argument(0),
      },
    },
    n,
  );
}
