/**
 * fuse-scale: moves the dequantizing scales and the bias, and nothing else, into the epilogue of the matrix
 * product. It runs before merge-projections, which stacks products whose epilogues are alike: a scale is
 * shared by the rows or stacked with the weights, while the tails that follow (a residual, an activation)
 * differ between projections and are left for fuse-bitlinear.
 *
 *   %a: i32[batch, 4] = ternary_matmul(%q, %s, %t)
 *   %f: f32[batch, 4] = to_f32(%a)
 *   %m: f32[batch, 4] = mul(%f, %d)
 *   %n: f32[batch, 4] = mul(%m, %c)
 *   %y: f32[batch, 4] = relu(%n)
 * becomes
 *   %n: f32[batch, 4] = ternary_matmul(%q, %s, %t, %d, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
 *   %y: f32[batch, 4] = relu(%n)
 */
import type { Value } from "../graph.ts";
import { definePass, rule } from "../rewrite.ts";
import { appendToEpilogue } from "./epilogue.ts";
import { isBuildTime } from "./partition-parameters.ts";

/** One number a row, as `d` of `quantize` is, or a vector [N] known at build, as weight scales and biases are. */
export function isScale(extra: Value): boolean {
  return extra.type.dims.at(-1) === 1 || (extra.type.dims.length <= 1 && isBuildTime(extra));
}

export const fuseScale = definePass("fuse-scale", [
  rule(["to_f32", "mul", "add"], (node, context) => appendToEpilogue(node, context, isScale)),
]);
