import { z } from "zod";
import { allocate, f32ToBf16, f32ToF16, toFloat32 } from "../tensor.ts";
import type { DType } from "../types.ts";
import { dense, dtypes } from "../types.ts";
import { dtypeSchema, type Op } from "./define.ts";

const attributes = z.strictObject({ dtype: dtypeSchema });

const integerRange: { readonly [D in DType]?: readonly [number, number] } = {
  i8: [-128, 127],
  u8: [0, 255],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
};

/** Any dense dtype -> another. */
export const cast: Op<typeof attributes> = {
  summary:
    "Converts elements: to floats by rounding to nearest even, to integers by truncation with saturation " +
    "(NaN becomes 0), to bool by x != 0.",
  operands: ["x"],
  attributes,
  infer([x], { dtype }, site) {
    site.requireDense(0, ...dtypes);
    return [dense(dtype, x!.dims)];
  },
  evaluate([x], { dtype }, [type]) {
    // Integers are read as they are: passing them through f32 would lose bits.
    const from = x!.type.dtype === "f16" || x!.type.dtype === "bf16" ? toFloat32(x!) : x!.data;
    const data = allocate(dtype, from.length);
    const convert = converter(dtype);
    for (let i = 0; i < data.length; i++) data[i] = convert(from[i]!);
    return [{ type: type!, data }];
  },
  // Rounding is taken for the identity; gradients are f32 throughout.
  gradient: ({ operands: [x], gradients: [g] }) => [isFloat(x!.type.dtype) ? g : undefined],
};

function isFloat(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

function converter(dtype: DType): (value: number) => number {
  const range = integerRange[dtype];
  if (range) {
    const [low, high] = range;
    return (value) => (Number.isNaN(value) ? 0 : Math.trunc(Math.min(Math.max(value, low), high)));
  }
  if (dtype === "f16") return f32ToF16;
  if (dtype === "bf16") return f32ToBf16;
  return dtype === "bool" ? (value) => (value === 0 ? 0 : 1) : Math.fround;
}
