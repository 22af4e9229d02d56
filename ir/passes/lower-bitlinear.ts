/**
 * lower-bitlinear: replaces BitLinear by what it means: absmax quantization of the activation, an exact
 * integer matrix product with ternary weights, and the scales applied in the contract's order. It runs
 * after canonicalize.
 *
 *   %y: f32[batch, 4] = bit_linear(%x, %w, %b) {weight_scale = "row", activation = {bits = 8, granularity = "row"}}
 * becomes
 *   %q: i8[batch, 8], %d: f32[batch, 1], %s: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
 *   %t: f32[4, 8] ternary(row) = absmean_quantize(%w) {scale = "row"}
 *   %a: i32[batch, 4] = ternary_matmul(%q, %s, %t)
 *   %f: f32[batch, 4] = to_f32(%a)
 *   %m: f32[batch, 4] = mul(%f, %d)
 *   %c: f32[4] = weight_scale(%t)
 *   %n: f32[batch, 4] = mul(%m, %c)
 *   %y: f32[batch, 4] = add(%n, %b)
 *
 * Group scales are applied inside the accumulation, so the product is f32 and only `d` remains. Without
 * activation quantization it is a `linear` over the ternary weight.
 */
import type { Node, Value } from "../graph.ts";
import { definePass, derive, nameAfter, remake, rule } from "../rewrite.ts";

const lower = rule("bit_linear", (node) => {
  const bias = node.operands[2];
  // The last node keeps the layer's name.
  if (!bias) return scaledProduct(node, remake);
  return remake(node, "add", [scaledProduct(node, derive), bias], {}).results;
});

/** The layer without its bias; `last` makes its last node. */
function scaledProduct(node: Node<"bit_linear">, last: typeof remake): Value {
  const [x, w] = node.operands as [Value, Value];
  const y = node.results[0]!;
  const { weight_scale: scale, activation } = node.attributes;
  const weight = w.type.encoding
    ? w
    : derive(node, "absmean_quantize", [w], { scale }, [nameAfter(w, "ternary")]).results[0]!;
  if (!activation) return last(node, "linear", [x, weight], {}).results[0]!;
  const names = ["codes", "d", "sum"].map((suffix) => nameAfter(x, suffix));
  const quantized = derive(node, "quantize", [x], { ...activation }, names).results;
  const [codes, d, sum] = quantized as [Value, Value, Value];
  const product = derive(node, "ternary_matmul", [codes, sum, weight], {}, [nameAfter(y, "acc")]).results[0]!;
  if (product.type.dtype === "f32") return last(node, "mul", [product, d], {}).results[0]!;
  const converted = derive(node, "to_f32", [product], {}).results[0]!;
  const scaled = derive(node, "mul", [converted, d], {}).results[0]!;
  const weightScale = derive(node, "weight_scale", [weight], {}, [nameAfter(w, "scale")]).results[0]!;
  return last(node, "mul", [scaled, weightScale], {}).results[0]!;
}

export const lowerBitLinear = definePass("lower-bitlinear", [lower]);
