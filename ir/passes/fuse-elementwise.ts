/**
 * fuse-elementwise: a tree of elementwise operations becomes one `elementwise` node, so that its
 * intermediate results never reach memory. A producedBy joins when nothing else reads it and it has the
 * result's dims: no element is ever computed twice. Scalar constants become literals. Every step of the
 * expression rounds to f32 as the separate operation did. It runs before fuse-bitlinear, which takes whole
 * expressions into the neighbouring matrix products and quantizers.
 *
 *   %a: f32[batch, 8] = relu2(%x)
 *   %y: f32[batch, 8] = mul(%a, %z)
 * becomes
 *   %y: f32[batch, 8] = elementwise(%x, %z) {expr = mul(relu2(x0), x1)}
 */
import { definePass, remake, rule } from "../rewrite.ts";
import { asExpression, elementwiseOps, inlineProducers } from "./fusion.ts";
import { isBuildTime } from "./partition-parameters.ts";

export const fuseElementwise = definePass("fuse-elementwise", [
  rule(elementwiseOps, (node, context) => {
    const own = asExpression(node);
    if (!own || isBuildTime(node.results[0]!)) return undefined;
    const fused = inlineProducers(own, node.results[0]!.type.dims, context);
    return fused && remake(node, "elementwise", fused.operands, { expr: fused.expr }).results;
  }),
]);
