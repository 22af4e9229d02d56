/** What the functions of scalar expressions must give, whatever the target. */
import { expect } from "vitest";
import type { MathFunction } from "../../../codegen/schedule/lanes.ts";
import { unaryFunctions } from "../../../ir/scalar.ts";
import { fromBits } from "./floats.ts";

/** A quarter of a million floats over all signs, exponents and kinds, and a dense grid where functions bend. */
function samples(): Float32Array {
  const values: number[] = [];
  for (let bits = 0; bits < 2 ** 32; bits += 16411) values.push(fromBits(bits));
  for (let x = -20; x < 20; x += 1 / 4096) values.push(x);
  for (let x = -110; x < 95; x += 1 / 512) values.push(x);
  values.push(
    0,
    -0,
    1,
    -1,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
    88.72283,
    88.72284,
  );
  values.push(-103.97207, -103.97208, -87.33655, 2 ** -149, -(2 ** -149), 2 ** -126, 3.4e38);
  return Float32Array.from(values);
}

/** Arguments to try functions on. */
export const functionSamples: Float32Array = samples();

/** The functions without rounding. */
const exact: { readonly [name: string]: (x: number) => number } = {
  exp: Math.exp,
  log: Math.log,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf: unaryFunctions.erf.evaluate,
};

/** The distance between two floats in units of the last place of the larger; huge where only one is finite. */
function distance(a: number, b: number): number {
  if (Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b)) || a === b) return 0;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.max(Math.abs(a), Math.abs(b)))));
  return Math.abs(a - b) / 2 ** (exponent - 23);
}

/**
 * Whether the result for x may be 0 on a target that takes numbers below `smallest` for 0: then x, the result, or a
 * factor of x in it is one.
 */
function mayVanish(x: number, wanted: number, smallest: number): boolean {
  return Math.abs(x) < smallest || Math.abs(wanted) < Math.max(1, Math.abs(x)) * smallest;
}

/**
 * Fails unless the results for all samples are within so many ulp of the exact ones.
 * @param smallest the least number that the target tells from 0
 */
export function expectWithinUlps(fn: string, results: Float32Array, ulps: number, smallest: number): void {
  let worst = 0;
  let where = 0;
  functionSamples.forEach((x, i) => {
    // Compare with the unrounded value where f32 can hold it, with its rounding where that is 0 or infinite.
    const value = exact[fn]!(x);
    const rounded = Math.fround(value);
    const wanted = Number.isFinite(rounded) ? value : rounded;
    if (results[i] === 0 && mayVanish(x, wanted, smallest)) return;
    const error = distance(results[i]!, wanted);
    if (error > worst) [worst, where] = [error, i];
  });
  const x = functionSamples[where]!;
  expect(worst, `at ${x}: ${results[where]} for ${exact[fn]!(x)}`).toBeLessThanOrEqual(ulps);
}

/** Fails unless the results for all samples are close to the reference interpreter's; `smallest` as above. */
export function expectLikeInterpreter(fn: MathFunction, results: Float32Array, smallest: number): void {
  let worst = 0;
  let where = 0;
  functionSamples.forEach((x, i) => {
    const wanted = unaryFunctions[fn].evaluate(x);
    const got = results[i]!;
    if (got === 0 && mayVanish(x, wanted, smallest)) return;
    if (Number.isNaN(wanted) !== Number.isNaN(got)) worst = Number.POSITIVE_INFINITY;
    // gelu cancels in its negative tail, where only the absolute error is small.
    const floor = fn.startsWith("gelu") ? Math.abs(x) : 2 ** -149;
    // silu multiplies x by a sigmoid that may be a few of the least numbers off.
    const slack = fn === "silu" ? 3 * Math.abs(x) * 2 ** -149 : 0;
    const difference = wanted === got ? 0 : Math.abs(got - wanted);
    const error = Math.max(0, difference - slack) / Math.max(Math.abs(wanted), floor);
    if (error > worst) [worst, where] = [error, i];
  });
  const denormal = Math.abs(unaryFunctions[fn].evaluate(functionSamples[where]!)) < 2 ** -126;
  expect(worst, `at ${functionSamples[where]}: ${results[where]}`).toBeLessThanOrEqual(
    denormal ? 1 : 2 ** -20,
  );
}
