import { z } from "zod";
import { dense } from "../types.ts";
import { numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({
  theta: numberSchema,
  /** Head width D; even. */
  dim: z.int().min(2).multipleOf(2),
  /** Number of positions. */
  length: z.int().min(1),
  fn: z.enum(["cos", "sin"]),
});

const RN = Math.fround;

/** -> f32 [length, dim/2]. Depends on nothing, so it is evaluated when a model is built. */
export const ropeTable: Op<typeof attributes> = {
  summary: "Cosines or sines of RN(t * inv_freq[i]), inv_freq[i] = RN(theta^(-2i/dim)), for positions t.",
  operands: [],
  attributes,
  infer(_operands, { dim, length }) {
    return [dense("f32", [length, dim / 2])];
  },
  evaluate(_operands, { theta, dim, length, fn }, [type]) {
    const half = dim / 2;
    const data = new Float32Array(length * half);
    for (let i = 0; i < half; i++) {
      const frequency = RN(theta ** ((-2 * i) / dim));
      for (let t = 0; t < length; t++) data[t * half + i] = Math[fn](RN(t * frequency));
    }
    return [{ type: type!, data }];
  },
  gradient: "zero",
};
