import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import {
  bf16ToF32,
  encodedTensor,
  f16ToF32,
  f32Bits,
  f32FromBits,
  f32ToBf16,
  f32ToF16,
  roundHalfEven,
  tensor,
  toFloat32,
  zeros,
} from "./tensor.ts";

describe("half precision", () => {
  test("every f16 widens and narrows to itself", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = f16ToF32(bits);
      if (Number.isNaN(value)) expect(f16ToF32(f32ToF16(value))).toBeNaN();
      else if (f32ToF16(value) !== bits) expect.fail(`f16 ${bits.toString(16)} -> ${value}`);
    }
  });

  test("every bf16 widens and narrows to itself", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = bf16ToF32(bits);
      if (Number.isNaN(value)) expect(bf16ToF32(f32ToBf16(value))).toBeNaN();
      else if (f32ToBf16(value) !== bits) expect.fail(`bf16 ${bits.toString(16)} -> ${value}`);
    }
  });

  test.each([
    [65504, 0x7bff],
    [65519.996, 0x7bff],
    [65520, 0x7c00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [1.5 * 2 ** -24, 0x0002],
    [2.5 * 2 ** -24, 0x0002],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [-0, 0x8000],
    [1023.75 * 2 ** -24, 0x0400],
  ])("f16 of %d", (value, bits) => {
    expect(f32ToF16(value)).toBe(bits);
  });

  test.prop([fc.float({ noNaN: true, noDefaultInfinity: true })])(
    "rounding is to the nearest neighbour",
    (x) => {
      const bits = f32ToBf16(x);
      const nearest = Math.abs(bf16ToF32(bits) - x);
      const magnitude = bits & 0x7fff;
      for (const other of [magnitude - 1, magnitude + 1]) {
        if (other < 0 || other > 0x7f7f) continue;
        const distance = Math.abs(bf16ToF32((bits & 0x8000) | other) - x);
        if (Number.isFinite(nearest)) expect(nearest).toBeLessThanOrEqual(distance);
      }
    },
  );

  test("ties to even", () => {
    const ties = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 2 ** 23 + 1];
    expect(ties.map((value) => roundHalfEven(value) + 0)).toEqual([0, 2, 2, 0, -2, -2, 0, 2 ** 23 + 1]);
  });

  test("bits", () => {
    expect(f32Bits(1 / 127)).toBe(0x3c010204);
    expect(f32FromBits(0x3c010204)).toBe(Math.fround(1 / 127));
  });
});

describe("tensors", () => {
  test("hold what they are given", () => {
    expect(tensor("f16", [2], [1, -2]).data).toEqual(Uint16Array.of(0x3c00, 0xc000));
    expect(toFloat32(tensor("bf16", [2], [1, -2]))).toEqual(Float32Array.of(1, -2));
    expect(toFloat32(tensor("i8", [2], [1, -2]))).toEqual(Float32Array.of(1, -2));
    expect(zeros({ dtype: "bool", dims: [2, 2] }).data).toEqual(new Uint8Array(4));
  });

  test("decode by the scale of tensor, row or group", () => {
    const codes = Int8Array.of(1, -1, 0, 1, 1, -1);
    const decode = (scale: "tensor" | "row" | { group: number }, scales: number[]) => [
      ...toFloat32(
        encodedTensor(
          { dtype: "f32", dims: [2, 3], encoding: { kind: "ternary", scale } },
          codes,
          Float32Array.from(scales),
        ),
      ),
    ];
    expect(decode("tensor", [2])).toEqual([2, -2, 0, 2, 2, -2]);
    expect(decode("row", [2, 3])).toEqual([2, -2, 0, 3, 3, -3]);
    expect(decode({ group: 2 }, [2, 3, 4, 5])).toEqual([2, -2, 0, 4, 4, -5]);
  });

  test("refuse the wrong number of elements", () => {
    expect(() => tensor("f32", [2, 3], [1])).toThrow("6 values");
    const type = { dtype: "f32", dims: [2, 3], encoding: { kind: "int8", scale: "row" } } as const;
    expect(() => encodedTensor(type, new Int8Array(6), new Float32Array(1))).toThrow("2 scales");
  });
});
