/**
 * fuse-bitlinear: what follows a matrix product joins its epilogue, and what precedes a quantizer joins its
 * pass over the row. It runs after merge-projections and fuse-elementwise.
 *
 * - An elementwise expression over a product that nothing else reads (residual, activation, gate) is appended
 *   to the product's epilogue, also through a reshape.
 * - An rms_norm that only a quantizer reads becomes the quantizer's norm, computed exactly as before.
 * - An elementwise expression that only a quantizer reads becomes its prologue. Its operands may be slices of
 *   a merged product, which are views.
 *
 *   %n: f32[batch, 8] = rms_norm(%x, %g) {eps = 0.00001}
 *   %q: i8[batch, 8], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%n) {bits = 8, granularity = "row"}
 *   %m: f32[batch, 8] = ternary_matmul(%q, %s, %t, %d, %c) {epilogue = mul(mul(to_f32(acc), x0), x1)}
 *   %y: f32[batch, 8] = add(%x, %m)
 * becomes
 *   %q: i8[batch, 8], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x, %g) {bits = 8, granularity = "row", eps = 0.00001}
 *   %y: f32[batch, 8] = ternary_matmul(%q, %s, %t, %d, %c, %x) {epilogue = add(x2, mul(mul(to_f32(acc), x0), x1))}
 */
import type { Node, Value } from "../graph.ts";
import { definePass, derive, producedBy, type RewriteContext, remake, rule } from "../rewrite.ts";
import { arg } from "../scalar.ts";
import { sameDims } from "../types.ts";
import { appendToEpilogue, productOf } from "./epilogue.ts";
import { asExpression, elementwiseOps, inlineProducers } from "./fusion.ts";

const epilogue = rule(elementwiseOps, (node, context) =>
  appendToEpilogue(node, context, (extra) => extra.type.dtype === "f32"),
);

/** An expression over a reshaped product is a reshaped expression over the product. */
const epilogueThroughReshape = rule(elementwiseOps, (node, context) => {
  const own = asExpression(node);
  const reshape = own?.operands.map((operand) => reshapedProduct(operand, context)).find((found) => found);
  if (!own || !reshape) return undefined;
  const { dims } = node.results[0]!.type;
  const movable = own.operands.every(
    (operand) => operand.type.dims.length === 0 || sameDims(operand.type.dims, dims),
  );
  if (!movable) return undefined;
  const product = reshape.operands[0]!;
  const operands = own.operands.map((operand) => {
    if (operand === reshape.results[0]) return product;
    if (operand.type.dims.length === 0) return operand;
    return derive(node, "reshape", [operand], { dims: [...product.type.dims] }).results[0]!;
  });
  const inner = derive(node, "elementwise", operands, { expr: own.expr }).results[0]!;
  return remake(node, "reshape", [inner], { dims: [...dims] }).results;
});

function reshapedProduct(value: Value, context: RewriteContext): Node<"reshape"> | undefined {
  const reshape = producedBy(value, "reshape");
  if (!reshape || context.uses(value) !== 1) return undefined;
  const product = reshape.operands[0]!;
  return productOf(product) && context.uses(product) === 1 ? reshape : undefined;
}

const normIntoQuantize = rule("quantize", (node, context) => {
  const { eps, prologue } = node.attributes;
  const x = node.operands[0]!;
  const norm = producedBy(x, "rms_norm");
  if (!norm || eps !== undefined || prologue !== undefined || context.uses(x) !== 1) return undefined;
  return remake(node, "quantize", norm.operands, { ...node.attributes, eps: norm.attributes.eps }).results;
});

const prologueIntoQuantize = rule("quantize", (node, context) => {
  const { eps, prologue } = node.attributes;
  const extras = eps === undefined ? node.operands : node.operands.slice(0, -1);
  const weight = node.operands.slice(extras.length);
  const own = { expr: prologue ?? arg(0), operands: extras };
  const fused = inlineProducers(own, node.results[0]!.type.dims, context);
  if (!fused) return undefined;
  const attributes = { ...node.attributes, prologue: fused.expr };
  return remake(node, "quantize", [...fused.operands, ...weight], attributes).results;
});

export const fuseBitLinear = definePass("fuse-bitlinear", [
  epilogue,
  epilogueThroughReshape,
  normIntoQuantize,
  prologueIntoQuantize,
]);
