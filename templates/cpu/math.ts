/**
 * The functions of scalar expressions that are not a few instructions, on four lanes (`exp4`) and on one
 * (`exp`). The scalar form is lane 0 of the vector form, so an element's value does not depend on whether it
 * fell into a vector or into the tail of a row.
 */
import { type f32, f32x4, i32x4, v128 } from "bitloom/kernel";

/** sign of `sign`, magnitude of `x`. */
function copySign4(x: v128, sign: v128): v128 {
  const mask = i32x4.splat(0x80000000);
  return v128.bitselect(sign, x, mask);
}

/** Floats of this size are integers: what is added to one is rounded, and stands in its low bits. */
export const ROUNDER = 12_582_912;

/** e^x as 2^n * y: ROUNDER + n. */
function powerOf2(x: v128): v128 {
  return f32x4.add(f32x4.mul(x, f32x4.splat(1.4426950216293335)), f32x4.splat(ROUNDER));
}

/** e^x as 2^n * y: y, by the degree-6 polynomial of Cephes' expf after reduction by n ln 2 in two parts. */
function mantissaOfExp(x: v128, shifted: v128): v128 {
  const n = f32x4.sub(shifted, f32x4.splat(ROUNDER));
  const high = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  const r = f32x4.add(high, f32x4.mul(n, f32x4.splat(2.1219444e-4)));
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.98756915e-4), r), f32x4.splat(1.39819995e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.33345191e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.16657959e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(0.166666655));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(0.5));
  return f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1));
}

/** e^x within 1 ulp, denormal results included; 2^n is applied in two factors so that neither over- nor underflows. */
export function exp4(x: v128): v128 {
  // Beyond these the result is 0 or infinity anyway, and n stays in the range of the two factors.
  const clamped = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89)), f32x4.splat(-104));
  const shifted = powerOf2(clamped);
  const y = mantissaOfExp(clamped, shifted);
  const whole = i32x4.sub(shifted, i32x4.splat(0x4b400000));
  const half = i32x4.shrS(whole, 1);
  const bias = i32x4.splat(127);
  const first = i32x4.shl(i32x4.add(half, bias), 23);
  const second = i32x4.shl(i32x4.add(i32x4.sub(whole, half), bias), 23);
  return f32x4.mul(f32x4.mul(y, first), second);
}
export function exp(x: f32): f32 {
  return f32x4.extractLane(exp4(f32x4.splat(x)), 0);
}

/** e^x within 1 ulp where x is at most 88, as in a softmax; 0 below -86.5, where it is less than 2^-124. */
export function softmaxExp4(x: v128): v128 {
  const least = f32x4.splat(-86.5);
  const clamped = f32x4.pmax(x, least);
  const shifted = powerOf2(clamped);
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000));
  // NaN is not below anything, and stays.
  return v128.andnot(f32x4.mul(mantissaOfExp(clamped, shifted), power), f32x4.lt(x, least));
}
export function softmaxExp(x: f32): f32 {
  return f32x4.extractLane(softmaxExp4(f32x4.splat(x)), 0);
}

/**
 * Natural logarithm within 1 ulp, denormal arguments included; -Infinity at 0, NaN below. The method of
 * FreeBSD's e_logf.c: x = 2^k (1 + f), s = f / (2 + f), log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)).
 */
export function log4(x: v128): v128 {
  const tiny = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, tiny);
  const offset = i32x4.add(scaled, i32x4.splat(0x3f800000 - 0x3f3504f3));
  const exponent = i32x4.sub(
    i32x4.sub(i32x4.shrS(offset, 23), i32x4.splat(127)),
    v128.and(tiny, i32x4.splat(23)),
  );
  const k = f32x4.convertI32x4S(exponent);
  const mantissa = i32x4.add(v128.and(offset, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const f = f32x4.sub(mantissa, f32x4.splat(1));
  const s = f32x4.div(f, f32x4.add(f32x4.splat(2), f));
  const z = f32x4.mul(s, s);
  const w = f32x4.mul(z, z);
  const odd = f32x4.mul(w, f32x4.add(f32x4.splat(0.40000972152), f32x4.mul(w, f32x4.splat(0.24279078841))));
  const even = f32x4.mul(z, f32x4.add(f32x4.splat(0.66666662693), f32x4.mul(w, f32x4.splat(0.28498786688))));
  const halfSquare = f32x4.mul(f32x4.splat(0.5), f32x4.mul(f, f));
  const series = f32x4.mul(s, f32x4.add(halfSquare, f32x4.add(even, odd)));
  const low = f32x4.add(series, f32x4.mul(k, f32x4.splat(9.0580006145e-6)));
  const fine = f32x4.add(f32x4.sub(low, halfSquare), f);
  const y = f32x4.add(fine, f32x4.mul(k, f32x4.splat(0.69313812256)));
  // Zero, infinity and NaN go their own way; the comparison with x keeps NaN out of the finite branch.
  const infinity = i32x4.splat(0x7f800000);
  const positive = v128.and(f32x4.gt(x, f32x4.splat(0)), f32x4.lt(x, infinity));
  const atZero = v128.bitselect(i32x4.splat(0xff800000), f32x4.sub(x, x), f32x4.eq(x, f32x4.splat(0)));
  const belowZero = v128.bitselect(i32x4.splat(0x7fc00000), atZero, f32x4.lt(x, f32x4.splat(0)));
  const special = v128.bitselect(infinity, belowZero, f32x4.eq(x, infinity));
  return v128.bitselect(y, special, positive);
}
export function log(x: f32): f32 {
  return f32x4.extractLane(log4(f32x4.splat(x)), 0);
}

/** Hyperbolic tangent within 2 ulp: an odd polynomial below 0.625 (Cephes' tanhf), 1 - 2/(e^2x + 1) above. */
export function tanh4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = f32x4.add(f32x4.mul(f32x4.splat(-5.70498872745e-3), z), f32x4.splat(2.06390887954e-2));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-5.37397155531e-2));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(1.33314422036e-1));
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-3.33332819422e-1));
  const small = f32x4.add(f32x4.mul(f32x4.mul(p, z), x), x);
  const e = exp4(f32x4.add(magnitude, magnitude));
  const one = f32x4.splat(1);
  const large = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(e, one)));
  return v128.bitselect(small, copySign4(large, x), f32x4.lt(magnitude, f32x4.splat(0.625)));
}
export function tanh(x: f32): f32 {
  return f32x4.extractLane(tanh4(f32x4.splat(x)), 0);
}

/** 1 / (1 + e^-x), through e^-|x| so that large negative x keep their relative accuracy. */
export function sigmoid4(x: v128): v128 {
  const e = exp4(f32x4.neg(f32x4.abs(x)));
  const one = f32x4.splat(1);
  const numerator = v128.bitselect(e, one, f32x4.lt(x, f32x4.splat(0)));
  return f32x4.div(numerator, f32x4.add(one, e));
}
export function sigmoid(x: f32): f32 {
  return f32x4.extractLane(sigmoid4(f32x4.splat(x)), 0);
}

/**
 * Error function within 2 ulp: minimax polynomials of N. Juffa, x + x p(x^2) below 0.9277 and 1 - e^q(|x|)
 * above.
 */
export function erf4(x: v128): v128 {
  const t = f32x4.abs(x);
  const s = f32x4.mul(x, x);
  let p = f32x4.add(f32x4.mul(f32x4.splat(-5.96761703e-4), s), f32x4.splat(4.99119423e-3));
  p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-2.67681349e-2));
  p = f32x4.add(f32x4.mul(p, s), f32x4.splat(1.12819925e-1));
  p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-3.76125336e-1));
  p = f32x4.add(f32x4.mul(p, s), f32x4.splat(1.28379166e-1));
  const small = f32x4.add(f32x4.mul(p, x), x);
  const head = f32x4.add(f32x4.mul(f32x4.splat(-1.7285347e-5), t), f32x4.splat(3.83197126e-4));
  const next = f32x4.add(f32x4.mul(f32x4.splat(-3.88396438e-3), t), f32x4.splat(2.42546219e-2));
  let q = f32x4.add(f32x4.mul(head, s), next);
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(-1.06777877e-1));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(-6.34846687e-1));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(-1.28717512e-1));
  q = f32x4.sub(f32x4.mul(q, t), t);
  const large = copySign4(f32x4.sub(f32x4.splat(1), exp4(q)), x);
  return v128.bitselect(large, small, f32x4.gt(t, f32x4.splat(0.927734375)));
}
export function erf(x: f32): f32 {
  return f32x4.extractLane(erf4(f32x4.splat(x)), 0);
}

/** x sigmoid(x). */
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}
export function silu(x: f32): f32 {
  return f32x4.extractLane(silu4(f32x4.splat(x)), 0);
}

/** x/2 (1 + erf(x / sqrt 2)). */
export function gelu4(x: v128): v128 {
  const cdf = f32x4.add(f32x4.splat(1), erf4(f32x4.mul(x, f32x4.splat(Math.sqrt(0.5)))));
  return f32x4.mul(f32x4.mul(f32x4.splat(0.5), x), cdf);
}
export function gelu(x: f32): f32 {
  return f32x4.extractLane(gelu4(f32x4.splat(x)), 0);
}

/** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
export function gelu_tanh4(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), x);
  const inner = f32x4.add(x, f32x4.mul(f32x4.splat(0.044715), cube));
  const t = tanh4(f32x4.mul(f32x4.splat(0.7978845608028654), inner));
  return f32x4.mul(f32x4.mul(f32x4.splat(0.5), x), f32x4.add(f32x4.splat(1), t));
}
export function gelu_tanh(x: f32): f32 {
  return f32x4.extractLane(gelu_tanh4(f32x4.splat(x)), 0);
}
