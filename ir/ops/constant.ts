import { z } from "zod";
import { tensor } from "../tensor.ts";
import { dense } from "../types.ts";
import { numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({ value: numberSchema, dtype: z.enum(["f32", "i32"]) });

/** -> a scalar, dims []. */
export const constant: Op<typeof attributes> = {
  summary: "A scalar known when the model is built. An f32 is the value rounded; an i32 must be one.",
  operands: [],
  attributes,
  infer(_operands, { value, dtype }, site) {
    if (dtype === "i32" && value !== (value | 0)) site.attribute("a 32-bit integer", `value ${value}`);
    return [dense(dtype, [])];
  },
  evaluate(_operands, { value, dtype }) {
    return [tensor(dtype, [], [value])];
  },
  gradient: "zero",
};
