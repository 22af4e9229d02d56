import { dtypes } from "../types.ts";
import { noAttributes, type Op } from "./define.ts";

/** x, of any dense dtype -> x; what it waits for may be anything. */
export const after: Op<typeof noAttributes> = {
  summary:
    "The same x, but there only once the others are computed. What is computed from it is another " +
    "computation than the same one from x, and later than they are.",
  operands: ["x", "others..."],
  attributes: noAttributes,
  infer([x], _attributes, site) {
    site.requireDense(0, ...dtypes);
    return [x!];
  },
  evaluate: ([x]) => [x!],
  gradient: ({ gradients: [g] }) => [g],
};
