import { expect } from "vitest";
import type { InterpretResult } from "../../ir/interpret.ts";
import { bf16ToF32, f16ToF32, type Tensor } from "../../ir/tensor.ts";

/** Fails unless two tensors have equal types and bits; every NaN is equal to every other. */
export function expectSameBits(received: Tensor, expected: Tensor, name = "tensor"): void {
  expect(received.type, name).toEqual(expected.type);
  const { dtype } = expected.type;
  const widen = dtype === "f16" ? f16ToF32 : dtype === "bf16" ? bf16ToF32 : Number;
  const same = (a: number, b: number) =>
    Object.is(a, b) || (Number.isNaN(widen(a)) && Number.isNaN(widen(b)));
  const difference = received.data.findIndex((value, i) => !same(value, expected.data[i]!));
  if (difference >= 0) {
    expect.fail(
      `${name}[${difference}] is ${received.data[difference]}, expected ${expected.data[difference]}`,
    );
  }
  expect(received.data.length, name).toBe(expected.data.length);
  if (expected.scales) expect(received.scales && [...received.scales], name).toEqual([...expected.scales]);
}

/** Fails unless two runs of an entry have the same bits in every output and next state. */
export function expectSameResults(received: InterpretResult, expected: InterpretResult, name: string): void {
  for (const kind of ["outputs", "states"] as const) {
    expect(Object.keys(received[kind]), name).toEqual(Object.keys(expected[kind]));
    for (const [key, want] of Object.entries(expected[kind])) {
      expectSameBits(received[kind][key]!, want, `${name}, ${kind} "${key}"`);
    }
  }
}
