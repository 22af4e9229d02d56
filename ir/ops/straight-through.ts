import { dense, sameType } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";

/** value f32, dense or encoded, and surrogate f32 of its dims -> value. */
export const straightThrough: Op<typeof noAttributes> = {
  summary:
    "The value, with the gradient of the surrogate: a straight-through estimator (arXiv:1308.3432) in general. " +
    "With the surrogate x it goes straight through to x; a constant surrogate stops gradients.",
  operands: ["value", "surrogate"],
  detached: [0],
  attributes: noAttributes,
  infer([value, surrogate], _attributes, site) {
    if (value!.dtype !== "f32") site.dtype("value of f32, dense or encoded");
    site.requireDense(1, "f32");
    if (!sameType(surrogate!, dense("f32", value!.dims))) site.shape("surrogate of the value's dims");
    return [value!];
  },
  evaluate: ([value]) => [value!],
  gradient: ({ gradients: [g] }) => [undefined, g],
};
