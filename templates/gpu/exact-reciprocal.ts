import { bits, convert, type f32, type i32 } from "bitloom/kernel";

/**
 * RN(1/a) for a in 2^-126..2^126, on devices whose division is good to a few units in the last place only.
 *
 * With a = m 2^e and 2^23 <= m < 2^24 the result's significand is q = RN(2^47 / m). Division proposes a q. The
 * remainder 2^47 - q m is exact modulo 2^32 while the proposal is less than 128 units off, and says which way to
 * go. No remainder is m/2: 2^48 = (2q + 1) m has no solution.
 */
export function exactReciprocal(a: f32): f32 {
  const word = bits.f32ToI32(a);
  const fraction = word & 0x7fffff;
  const proposal: f32 = 16777216 / bits.i32ToF32(fraction | 0x3f800000);
  const q = nearestQuotient(fraction | 0x800000, convert.f32ToI32(proposal));
  // q is in 2^23..2^24, and 2^24 carries into the exponent.
  return bits.i32ToF32(((253 - (word >> 23)) << 23) + (q - 0x800000));
}

/** RN(2^47 / m), 2^23 <= m < 2^24, from a proposal less than 128 off. */
export function nearestQuotient(m: i32, proposal: i32): i32 {
  const half = m >> 1;
  let q = proposal;
  let rest = -(q * m);
  while (rest > half) {
    rest -= m;
    q += 1;
  }
  while (rest < -half) {
    rest += m;
    q -= 1;
  }
  return q;
}
