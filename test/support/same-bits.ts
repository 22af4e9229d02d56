import { expect } from "vitest";
import type { Tensor } from "../../ir/tensor.ts";

/** Fails unless two tensors have equal types and bits; every NaN is equal to every other. */
export function expectSameBits(received: Tensor, expected: Tensor, name = "tensor"): void {
  expect(received.type, name).toEqual(expected.type);
  const difference = received.data.findIndex((value, i) => !Object.is(value, expected.data[i]));
  if (difference >= 0) {
    expect.fail(
      `${name}[${difference}] is ${received.data[difference]}, expected ${expected.data[difference]}`,
    );
  }
  expect(received.data.length, name).toBe(expected.data.length);
  if (expected.scales) expect(received.scales && [...received.scales], name).toEqual([...expected.scales]);
}
