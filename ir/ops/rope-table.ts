import { z } from "zod";
import { dense } from "../types.ts";
import { numberSchema, type Op } from "./define.ts";

/** How frequencies are stretched beyond the trained context. */
const scaling = z.discriminatedUnion("kind", [
  /** Every frequency divided by `factor` (arXiv:2306.15595). */
  z.strictObject({ kind: z.literal("linear"), factor: z.number().positive() }),
  /** Llama 3.1: low frequencies divided by `factor`, high ones kept, a linear ramp between. */
  z.strictObject({
    kind: z.literal("llama3"),
    factor: z.number().positive(),
    low_frequency_factor: z.number().positive(),
    high_frequency_factor: z.number().positive(),
    original_length: z.int().min(1),
  }),
]);

const attributes = z.strictObject({
  theta: numberSchema,
  /** Head width D; even. */
  dim: z.int().min(2).multipleOf(2),
  /** Number of positions. */
  length: z.int().min(1),
  fn: z.enum(["cos", "sin"]),
  scaling: scaling.optional(),
});

const RN = Math.fround;

/** -> f32 [length, dim/2]. Depends on nothing, so it is evaluated when a model is built. */
export const ropeTable: Op<typeof attributes> = {
  summary:
    "Cosines or sines of RN(t * inv_freq[i]) for positions t; inv_freq[i] = RN(theta^(-2i/dim)), scaled if so asked.",
  operands: [],
  attributes,
  infer(_operands, { dim, length }) {
    return [dense("f32", [length, dim / 2])];
  },
  evaluate(_operands, { theta, dim, length, fn, scaling }, [type]) {
    const half = dim / 2;
    const data = new Float32Array(length * half);
    for (let i = 0; i < half; i++) {
      const frequency = stretch(RN(theta ** ((-2 * i) / dim)), scaling);
      for (let t = 0; t < length; t++) data[t * half + i] = Math[fn](RN(t * frequency));
    }
    return [{ type: type!, data }];
  },
  gradient: "zero",
};

function stretch(frequency: number, by: z.output<typeof scaling> | undefined): number {
  if (!by) return frequency;
  const low = RN(frequency / by.factor);
  if (by.kind === "linear") return low;
  // How often the trained context holds the wave decides between the two.
  const turns = (by.original_length * frequency) / (2 * Math.PI);
  const { low_frequency_factor: from, high_frequency_factor: to } = by;
  const high = Math.min(1, Math.max(0, (turns - from) / (to - from)));
  return RN((1 - high) * low + high * frequency);
}
