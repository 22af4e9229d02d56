/**
 * What mix-quantization makes of a weight, as expressions of one element: `x0` is the latent weight w, `x1` its scale alpha
 * and `x2` RN(1 / alpha).
 */
import { apply, arg, literal, type ScalarExpr } from "../scalar.ts";

/**
 * How the gradient by a ternary weight w = alpha v is estimated; alpha is taken for a constant.
 * - `identity`: as if it were not quantized (arXiv:1308.3432), the numerics contract's.
 * - `clipped`: none where |v| > 1, beyond what the codes reach (arXiv:1602.02830).
 * - `soft`: the derivative of alpha (s(T (v - 1/2)) + s(T (v + 1/2)) - 1), two logistic steps of temperature T in place
 *   of the two that rounding makes (arXiv:1911.09464).
 */
export type Estimator = "identity" | "clipped" | { readonly kind: "soft"; readonly temperature: number };

/**
 * Noise that stands for what rounding is yet to do to a weight (arXiv:2104.09987), independent in each weight and step:
 * uniform within half a step to either side, or normal with the same deviation, a step / sqrt(12). A step is alpha.
 */
export type Noise = "uniform" | "gaussian";

const add = (a: ScalarExpr, b: ScalarExpr) => apply("add", a, b);
const sub = (a: ScalarExpr, b: ScalarExpr) => apply("sub", a, b);
const mul = (a: ScalarExpr, b: ScalarExpr) => apply("mul", a, b);
const div = (a: ScalarExpr, b: ScalarExpr) => apply("div", a, b);

export const LATENT = arg(0);
const ALPHA = arg(1);
/** RN(w * RN(1 / alpha)). */
const SCALED = mul(LATENT, arg(2));
const MAGNITUDE = apply("abs", SCALED);

/** 1 where x is above 0, else 0. */
const isPositive = (x: ScalarExpr) => apply("relu", apply("sign", x));

/** alpha times the contract's code, clamp(RNE(v), -1, 1): halves are rounded to 0. */
export const quantized = mul(mul(apply("sign", SCALED), isPositive(sub(MAGNITUDE, literal(0.5)))), ALPHA);

/** What the gradient is taken of in place of `quantized`. */
export function surrogate(estimator: Estimator): ScalarExpr {
  if (estimator === "identity") return LATENT;
  if (estimator === "clipped") return mul(LATENT, sub(literal(1), isPositive(sub(MAGNITUDE, literal(1)))));
  const { temperature } = estimator;
  const step = (at: number) => apply("sigmoid", mul(literal(temperature), sub(SCALED, literal(at))));
  return mul(ALPHA, sub(add(step(0.5), step(-0.5)), literal(1)));
}

/** (1 - lambda) latent + lambda rounded: either of them at 0 and 1, which is what no lambda means. */
export function mixture(lambda: ScalarExpr | undefined, latent: ScalarExpr, rounded: ScalarExpr): ScalarExpr {
  return lambda ? add(mul(sub(literal(1), lambda), latent), mul(lambda, rounded)) : rounded;
}

/** x + alpha u, where random bits, i32, settle u. */
export function withNoise(x: ScalarExpr, bits: ScalarExpr, kind: Noise): ScalarExpr {
  return add(x, mul(ALPHA, noiseOf(bits, kind)));
}

/** A number of mean 0 and deviation 1 / sqrt(12). */
function noiseOf(bits: ScalarExpr, kind: Noise): ScalarExpr {
  const unit = mul(apply("to_f32", bits), literal(2 ** -32));
  if (kind === "uniform") return unit;
  // sqrt(2) erf^-1(u), u uniform in -1..1, to two thousandths: Winitzki, "A handy approximation for the error function and
  // its inverse" (2008), with a = 0.147 and its difference of roots as a quotient. u stays off 1, where it is infinite.
  const a = 0.147;
  const u = mul(unit, literal(2 * (1 - 2 ** -22)));
  const log = apply("log", sub(literal(1), mul(u, u)));
  const b = add(mul(log, literal(0.5)), literal(2 / (Math.PI * a)));
  const t = mul(log, literal(-1 / a));
  const root = apply("sqrt", div(t, add(apply("sqrt", add(mul(b, b), t)), b)));
  return mul(mul(apply("sign", u), root), literal(Math.sqrt(2 / 12)));
}
