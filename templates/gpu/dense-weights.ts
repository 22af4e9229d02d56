import { type Buffer, bits, convert, type f32, type i32, select, type u32 } from "bitloom/kernel";

/** Element types of dense weights in memory. */
export type DenseWeight = "f32" | "f16" | "bf16" | "int8";

/** Elements in a 32-bit word. */
export function perWord(kind: DenseWeight): number {
  return kind === "int8" ? 4 : kind === "f32" ? 1 : 2;
}

/** Element `e` of a word as f32, the lowest bits first; int8 without its scale. */
export function decode(kind: DenseWeight, word: u32, e: i32): f32 {
  if (kind === "f32") return bits.u32ToF32(word);
  if (kind === "int8") return convert.i32ToF32((convert.u32ToI32(word) << (24 - 8 * e)) >> 24);
  if (kind === "bf16") return bits.u32ToF32(((word >> (16 * e)) & 0xffff) << 16);
  return fromF16((word >> (16 * e)) & 0xffff);
}

/** Element `index` of an array of elements. */
export function decodeAt(kind: DenseWeight, weights: Buffer<u32>, index: i32): f32 {
  if (kind === "f32") return bits.u32ToF32(weights[index]!);
  if (kind === "int8") return decode(kind, weights[index >> 2]!, index & 3);
  return decode(kind, weights[index >> 1]!, index & 1);
}

/**
 * A binary16, exactly. Its denormals are integers times 2^-24: taken for f32 denormals, devices may flush them.
 */
function fromF16(half: u32): f32 {
  const magnitude = half & 0x7fff;
  // 112 is the difference of the exponents' biases; infinity and NaN take it twice.
  const bias: u32 = select(magnitude < 0x7c00, 0x38000000, 0x70000000);
  const normal = bits.u32ToF32((magnitude << 13) + bias);
  const value = select(magnitude < 0x400, convert.u32ToF32(magnitude) * 2 ** -24, normal);
  return bits.u32ToF32(bits.f32ToU32(value) | ((half & 0x8000) << 16));
}
