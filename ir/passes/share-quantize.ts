/**
 * share-quantize: layers that read the same activation read one quantization of it. It is
 * common-subexpressions for `quantize` (and for the absmean quantization of a shared weight), named because
 * it is what makes q, k and v one read of the row. It runs right after lower-bitlinear.
 *
 *   %q0: i8[batch, 8], %d0: f32[batch, 1], %s0: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
 *   %q1: i8[batch, 8], %d1: f32[batch, 1], %s1: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
 * becomes
 *   %q0: i8[batch, 8], %d0: f32[batch, 1], %s0: i32[batch, 1] = quantize(%x) {bits = 8, granularity = "row"}
 */
import { definePass } from "../rewrite.ts";
import { uniqueNodes } from "./common-subexpressions.ts";

export const shareQuantize = definePass("share-quantize", () => [
  uniqueNodes(["quantize", "absmean_quantize", "weight_scale"]),
]);
