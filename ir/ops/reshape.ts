import { z } from "zod";
import { elementCount, formatDims } from "../types.ts";
import { dimSchema, type Op } from "./define.ts";

const attributes = z.strictObject({ dims: z.array(dimSchema).readonly() });

/** x -> the same elements in row-major order as `dims`. */
export const reshape: Op<typeof attributes> = {
  summary: "Another shape over the same elements; literal dims have equal products, symbols are the same.",
  operands: ["x"],
  attributes,
  infer([x], { dims }, site) {
    if (x!.encoding) site.dtype("a dense x");
    const from = elementCount(x!.dims);
    const to = elementCount(dims);
    if (from.literal !== to.literal || from.symbols.join() !== to.symbols.join()) {
      site.shape(`x of as many elements as ${formatDims(dims)}, with the same names`);
    }
    return [{ ...x!, dims }];
  },
  evaluate([x], _attributes, [type]) {
    return [{ type: type!, data: x!.data }];
  },
  gradient: ({ operands: [x], gradients: [g], emit }) => [
    emit.one("reshape", [g!], { dims: [...x!.type.dims] }),
  ],
};
