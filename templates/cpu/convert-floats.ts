import {
  type Buffer,
  type f32,
  f32x4,
  i16x8,
  type i32,
  i32x4,
  type Static,
  type u8,
  type u16,
  v128,
} from "bitloom/kernel";

export interface FloatOptions {
  /** The 16-bit type at the narrow end. */
  type: "f16" | "bf16";
}

/**
 * Widens 16-bit floats to f32; exact.
 *
 * @param from u16, the bits
 * @param to f32; both have room for a multiple of 4
 * @param begin first item; an item is 4 elements
 * @param end one past the last item
 */
export function widenFloats(
  options: Static<FloatOptions>,
  from: Buffer<u16>,
  to: Buffer<f32>,
  begin: i32,
  end: i32,
): void {
  for (let item = begin; item < end; item++) {
    const narrow = i32x4.load16x4U(from, item * 4);
    if (options.type === "bf16") v128.store(to, item * 4, i32x4.shl(narrow, 16));
    else v128.store(to, item * 4, widenF16(narrow));
  }
}

/** 2^112 moves the exponent's bias from 15 to 127 and makes subnormals normal; only Inf and NaN need more. */
function widenF16(narrow: v128): v128 {
  const magnitude = v128.and(narrow, i32x4.splat(0x7fff));
  const scaled = f32x4.mul(i32x4.shl(magnitude, 13), i32x4.splat(0x77800000));
  const special = v128.and(i32x4.gtS(magnitude, i32x4.splat(0x7bff)), i32x4.splat(0x7f800000));
  const sign = i32x4.shl(v128.and(narrow, i32x4.splat(0x8000)), 16);
  return v128.or(v128.or(scaled, special), sign);
}

/**
 * Rounds f32 to 16-bit floats, to nearest even; what is too large becomes infinite, NaN is not kept.
 *
 * @param from f32
 * @param to u16, the bits; both have room for a multiple of 8
 * @param begin first item; an item is 8 elements
 * @param end one past the last item
 */
export function narrowFloats(
  options: Static<FloatOptions>,
  from: Buffer<f32>,
  to: Buffer<u16>,
  begin: i32,
  end: i32,
): void {
  for (let item = begin; item < end; item++) {
    const low = v128.load(from, item * 8);
    const high = v128.load(from, item * 8 + 4);
    if (options.type === "bf16") {
      v128.store(to, item * 8, i16x8.narrowI32x4U(narrowBf16(low), narrowBf16(high)));
    } else {
      v128.store(to, item * 8, i16x8.narrowI32x4U(narrowF16(low), narrowF16(high)));
    }
  }
}

function narrowBf16(wide: v128): v128 {
  const odd = v128.and(i32x4.shrU(wide, 16), i32x4.splat(1));
  return i32x4.shrU(i32x4.add(i32x4.add(wide, i32x4.splat(0x7fff)), odd), 16);
}

function narrowF16(wide: v128): v128 {
  const magnitude = v128.and(wide, i32x4.splat(0x7fffffff));
  const odd = v128.and(i32x4.shrU(magnitude, 13), i32x4.splat(1));
  // 0x38000000 = 112 << 23 is the difference of the exponents' biases.
  const rebiased = i32x4.add(
    i32x4.sub(magnitude, i32x4.splat(0x38000000)),
    i32x4.add(odd, i32x4.splat(0xfff)),
  );
  const normal = i32x4.shrU(rebiased, 13);
  // The unit of 0.5 is 2^-24, that of binary16's subnormals: adding 0.5 rounds to it.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const small = i32x4.ltS(magnitude, i32x4.splat(0x38800000));
  const large = i32x4.gtS(magnitude, i32x4.splat(0x477fefff));
  const finite = v128.bitselect(subnormal, normal, small);
  const value = v128.bitselect(i32x4.splat(0x7c00), finite, large);
  return v128.or(value, v128.and(i32x4.shrU(wide, 16), i32x4.splat(0x8000)));
}

export interface FiniteOptions {
  type: "f32" | "f16" | "bf16";
}

/**
 * Looks for values that are not finite.
 *
 * @param values the elements seen as bytes, with room for a multiple of 16 bytes
 * @param found set to 1 when there is a NaN or an infinity
 * @param begin first item; an item is 16 bytes
 * @param end one past the last item
 */
export function findNonFinite(
  options: Static<FiniteOptions>,
  values: Buffer<u8>,
  found: Buffer<i32>,
  begin: i32,
  end: i32,
): void {
  let special = i32x4.splat(0);
  for (let item = begin; item < end; item++) {
    const lanes = v128.load(values, item * 16);
    if (options.type === "f32") {
      const exponent = i32x4.splat(0x7f800000);
      special = v128.or(special, i32x4.eq(v128.and(lanes, exponent), exponent));
    } else {
      const exponent = i16x8.splat(options.type === "f16" ? 0x7c00 : 0x7f80);
      special = v128.or(special, i16x8.eq(v128.and(lanes, exponent), exponent));
    }
  }
  if (v128.anyTrue(special)) found[0] = 1;
}
