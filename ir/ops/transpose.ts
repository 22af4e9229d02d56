import { z } from "zod";
import { allocate } from "../tensor.ts";
import { dense } from "../types.ts";
import { stridesOf } from "./broadcast.ts";
import type { Op } from "./define.ts";

const attributes = z.strictObject({
  /** Axis i of the result is axis permutation[i] of x. */
  permutation: z.array(z.int().min(0)).readonly(),
});

/** x of any dense dtype -> its axes in another order. */
export const transpose: Op<typeof attributes> = {
  summary: "Reorders axes: axis i of the result is axis permutation[i] of x.",
  operands: ["x"],
  attributes,
  infer([x], { permutation }, site) {
    if (x!.encoding) site.dtype("a dense x");
    const { dims } = x!;
    if (
      permutation.length !== dims.length ||
      new Set(permutation).size !== dims.length ||
      permutation.some((axis) => axis >= dims.length)
    ) {
      site.attribute(`a permutation of the ${dims.length} axes`, `[${permutation.join(", ")}]`);
    }
    return [
      dense(
        x!.dtype,
        permutation.map((axis) => dims[axis]!),
      ),
    ];
  },
  evaluate([x], { permutation }, [type]) {
    const strides = stridesOf(x!.type.dims);
    const resultStrides = stridesOf(type!.dims);
    const data = allocate(type!.dtype, x!.data.length);
    for (let i = 0; i < data.length; i++) {
      let offset = 0;
      for (const [axis, from] of permutation.entries()) {
        offset += (Math.floor(i / resultStrides[axis]!) % type!.dims[axis]!) * strides[from]!;
      }
      data[i] = x!.data[offset]!;
    }
    return [{ type: type!, data }];
  },
  gradient({ attributes: { permutation }, gradients: [g], emit }) {
    const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
    return [emit.one("transpose", [g!], { permutation: inverse })];
  },
};
