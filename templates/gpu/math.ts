/**
 * The functions of scalar expressions that are not a few instructions. WGSL's own are too coarse for the numerics
 * contract (exp may be 3 + 2|x| ulp off), so the methods are those of the CPU kernels. Devices may flush denormals
 * to zero, contract a product and a sum, and divide 2.5 ulp off; the bounds hold for normal results nevertheless.
 */
import { bits, convert, type f32, type i32, math, select } from "bitloom/kernel";

/** By its bits, since shaders may take every float for a number. */
function notANumber(x: f32): boolean {
  return (bits.f32ToU32(x) & 0x7fffffff) > 0x7f800000;
}

/** sign of `sign`, magnitude of `x`. */
function copySign(x: f32, sign: f32): f32 {
  return bits.u32ToF32((bits.f32ToU32(x) & 0x7fffffff) | (bits.f32ToU32(sign) & 0x80000000));
}

/**
 * e^x within 2 ulp. Reduction by multiples of ln 2 in two parts and the degree-6 polynomial of Cephes' expf; 2^n is
 * applied in two factors so that neither over- nor underflows.
 */
export function exp(x: f32): f32 {
  if (notANumber(x)) return x;
  // Beyond these the result is 0 or infinity anyway, and n stays in the range of the two factors.
  const clamped = math.max(math.min(x, 89), -104);
  const n = math.nearest(clamped * 1.4426950216293335);
  const r = clamped - n * 0.693359375 + n * 2.1219444e-4;
  let p = 1.98756915e-4 * r + 1.39819995e-3;
  p = p * r + 8.33345191e-3;
  p = p * r + 4.16657959e-2;
  p = p * r + 0.166666655;
  p = p * r + 0.5;
  const y = r * r * p + r + 1;
  const whole = convert.f32ToI32(n);
  const half = whole >> 1;
  const first = bits.i32ToF32((half + 127) << 23);
  const second = bits.i32ToF32((whole - half + 127) << 23);
  return y * first * second;
}

/**
 * Natural logarithm within 2 ulp; -Infinity at 0, NaN below. The method of FreeBSD's e_logf.c: x = 2^k (1 + f),
 * s = f / (2 + f), log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)).
 */
export function log(x: f32): f32 {
  // Zero and negative numbers, infinity and NaN by their bits: what floats make of them is the device's choice.
  const word = bits.f32ToI32(x);
  const infinity: i32 = 0x7f800000;
  if (word === 0 || word === -0x80000000) return bits.i32ToF32(infinity | (word | -0x80000000));
  if (word < 0) return bits.i32ToF32(word | 0x7fc00000);
  if (word >= infinity) return x;
  // A denormal's fraction is an integer, which is normal once it is converted.
  const tiny = word < 0x00800000;
  const scaled = bits.f32ToI32(select(tiny, convert.i32ToF32(word), x));
  const offset = scaled + (0x3f800000 - 0x3f3504f3);
  const k = convert.i32ToF32((offset >> 23) - 127 - select(tiny, 149, 0));
  const f = bits.i32ToF32((offset & 0x007fffff) + 0x3f3504f3) - 1;
  const s = f / (2 + f);
  const z = s * s;
  const w = z * z;
  const odd = w * (0.40000972152 + w * 0.24279078841);
  const even = z * (0.66666662693 + w * 0.28498786688);
  const halfSquare = 0.5 * (f * f);
  const low = s * (halfSquare + (even + odd)) + k * 9.0580006145e-6;
  return low - halfSquare + f + k * 0.69313812256;
}

/** Hyperbolic tangent within 4 ulp: an odd polynomial below 0.625 (Cephes' tanhf), 1 - 2/(e^2x + 1) above. */
export function tanh(x: f32): f32 {
  const magnitude = math.abs(x);
  if (magnitude < 0.625) {
    const z = x * x;
    let p = -5.70498872745e-3 * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    return p * z * x + x;
  }
  // Beyond 44 it is 1 to the last bit, and e^2x would soon overflow.
  const e = exp(math.min(magnitude, 44) * 2);
  return select(notANumber(x), x, copySign(1 - 2 / (e + 1), x));
}

/** 1 / (1 + e^-x), through e^-|x| so that large negative x keep their relative accuracy. */
export function sigmoid(x: f32): f32 {
  const e = exp(-math.abs(x));
  return select(x < 0, e, 1) / (1 + e);
}

/**
 * Error function within 4 ulp: minimax polynomials of N. Juffa, x + x p(x^2) below 0.9277 and 1 - e^q(|x|) above.
 */
export function erf(x: f32): f32 {
  const t = math.abs(x);
  const s = x * x;
  if (t > 0.927734375) {
    // Beyond 4 it is 1 to the last bit.
    const u = math.min(t, 4);
    const square = u * u;
    const head = -1.7285347e-5 * u + 3.83197126e-4;
    const next = -3.88396438e-3 * u + 2.42546219e-2;
    let q = head * square + next;
    q = q * u - 1.06777877e-1;
    q = q * u - 6.34846687e-1;
    q = q * u - 1.28717512e-1;
    q = q * u - u;
    return copySign(1 - exp(q), x);
  }
  let p = -5.96761703e-4 * s + 4.99119423e-3;
  p = p * s - 2.67681349e-2;
  p = p * s + 1.12819925e-1;
  p = p * s - 3.76125336e-1;
  // Not p x + x: for the least x the product would vanish.
  p = p * s + 1.28379166e-1;
  return (1 + p) * x;
}

/** x sigmoid(x). */
export function silu(x: f32): f32 {
  return x * sigmoid(x);
}

/** x/2 (1 + erf(x / sqrt 2)). */
export function gelu(x: f32): f32 {
  return 0.5 * x * (1 + erf(x * Math.sqrt(0.5)));
}

/** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
export function gelu_tanh(x: f32): f32 {
  const inner = x + 0.044715 * (x * x * x);
  return 0.5 * x * (1 + tanh(0.7978845608028654 * inner));
}
