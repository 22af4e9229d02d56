/** How far a target may be from the interpreter, by the tiers of the numerics contract. */
import { expect } from "vitest";
import type { Tensor } from "../../ir/tensor.ts";

/** Half a unit in the last place of a number in 1..2. */
export const EPSILON = 2 ** -24;

/**
 * Fails unless every element is within `allowed(i)` of the expected one; NaN and infinities must agree but where
 * anything is allowed.
 */
export function expectWithin(
  received: Tensor,
  expected: Tensor,
  allowed: (index: number) => number,
  name: string,
): void {
  expect(received.type, name).toEqual(expected.type);
  expected.data.forEach((want, i) => {
    const got = received.data[i]!;
    if (Object.is(got, want) || (Number.isNaN(got) && Number.isNaN(want))) return;
    // Written so that a NaN difference fails.
    const bound = allowed(i);
    if (bound === Number.POSITIVE_INFINITY || Math.abs(got - want) <= bound) return;
    expect.fail(`${name}[${i}] is ${got}, expected ${want} within ${bound}`);
  });
}

/** Relative L2 distance of two tensors. */
export function relativeL2(received: Tensor, expected: Tensor): number {
  let difference = 0;
  let size = 0;
  expected.data.forEach((want, i) => {
    difference += (received.data[i]! - want) ** 2;
    size += want ** 2;
  });
  return Math.sqrt(difference / Math.max(size, Number.MIN_VALUE));
}
