import {
  type Buffer,
  convert,
  type f32,
  f32x4,
  i8x16,
  i16x8,
  type i32,
  i32x4,
  type Registers,
  type u8,
  v128,
} from "bitloom/kernel";

/** Element types of dense weights in memory. */
export type DenseWeight = "f32" | "f16" | "bf16" | "int8";

/**
 * The constants of {@link fromF16x4}, for a loop to keep in registers.
 * @param constants four registers
 */
export function prepareDecode(kind: DenseWeight | "ternary", constants: Registers<v128>): void {
  if (kind === "f16") {
    constants[0] = i32x4.splat(0x8fffe000);
    constants[1] = f32x4.splat(2 ** 112);
    constants[2] = i32x4.splat(0x0f800000);
    constants[3] = i32x4.splat(0x7f800000);
  }
}

/**
 * Four f16 in the low halves of i32 lanes, as f32: exact, denormals, infinities and NaN included. Exponent and
 * fraction go where f32 has them, the product mends the exponent's bias, and an exponent of all ones stays so.
 */
function fromF16x4(h: v128, constants: Registers<v128>): v128 {
  const shifted = v128.and(i32x4.shrS(i32x4.shl(h, 16), 3), constants[0]!);
  const special = i32x4.eq(v128.and(shifted, constants[2]!), constants[2]!);
  return v128.or(f32x4.mul(shifted, constants[1]!), v128.and(special, constants[3]!));
}

/** Elements index..index+7 as f32 in to[0] and to[1]; int8 without its scale. */
export function decode8(
  kind: DenseWeight,
  constants: Registers<v128>,
  weights: Buffer<u8>,
  index: i32,
  to: Registers<v128>,
): void {
  if (kind === "f32") {
    to[0] = v128.load(weights, 4 * index);
    to[1] = v128.load(weights, 4 * index + 16);
  } else if (kind === "bf16") {
    to[0] = i32x4.shl(i32x4.load16x4U(weights, 2 * index), 16);
    to[1] = i32x4.shl(i32x4.load16x4U(weights, 2 * index + 8), 16);
  } else if (kind === "f16") {
    to[0] = fromF16x4(i32x4.load16x4U(weights, 2 * index), constants);
    to[1] = fromF16x4(i32x4.load16x4U(weights, 2 * index + 8), constants);
  } else {
    const wide = i16x8.load8x8S(weights, index);
    to[0] = f32x4.convertI32x4S(i32x4.extendLowI16x8S(wide));
    to[1] = f32x4.convertI32x4S(i32x4.extendHighI16x8S(wide));
  }
}

/** Element index as f32 in lane 0, the other lanes 0; int8 without its scale. */
export function decode1(
  kind: DenseWeight,
  constants: Registers<v128>,
  weights: Buffer<u8>,
  index: i32,
): v128 {
  const zero = i32x4.splat(0);
  if (kind === "f32") return v128.load32Zero(weights, 4 * index);
  if (kind === "int8") {
    return f32x4.convertI32x4S(i32x4.replaceLane(zero, 0, (weights[index]! << 24) >> 24));
  }
  const half = i32x4.replaceLane(zero, 0, weights[2 * index]! | (weights[2 * index + 1]! << 8));
  return kind === "bf16" ? i32x4.shl(half, 16) : fromF16x4(half, constants);
}

/** Sixteen ternary weights as f32 -1, 0, 1 in to[0..3], from the low two bits of each byte. */
export function decodeTernary16(bytes: v128, to: Registers<v128>): void {
  const ternary = i8x16.sub(v128.and(bytes, i8x16.splat(3)), i8x16.splat(1));
  const low = i16x8.extendLowI8x16S(ternary);
  const high = i16x8.extendHighI8x16S(ternary);
  to[0] = f32x4.convertI32x4S(i32x4.extendLowI16x8S(low));
  to[1] = f32x4.convertI32x4S(i32x4.extendHighI16x8S(low));
  to[2] = f32x4.convertI32x4S(i32x4.extendLowI16x8S(high));
  to[3] = f32x4.convertI32x4S(i32x4.extendHighI16x8S(high));
}

/** Ternary weight i of a row's group whose first block is at byte `from`: -1, 0 or 1. */
export function decodeTernary1(codes: Buffer<u8>, from: i32, i: i32): f32 {
  const byte = codes[from + (i & -64) + (i & 15)]!;
  return convert.i32ToF32(((byte >> (((i & 63) >> 4) << 1)) & 3) - 1);
}
