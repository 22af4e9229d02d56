import { z } from "zod";
import { allocate, sizeOf } from "../tensor.ts";
import { broadcastsTo, dense, dtypes, formatDims } from "../types.ts";
import { broadcastReader } from "./broadcast.ts";
import { dimSchema, type Op } from "./define.ts";
import { sumTo } from "./elementwise-gradient.ts";

const attributes = z.strictObject({ dims: z.array(dimSchema).readonly() });

/** x of any dense dtype -> the same, repeated to `dims`. */
export const broadcastTo: Op<typeof attributes> = {
  summary: "Repeats elements along missing axes and axes of 1, as numpy broadcasts.",
  operands: ["x"],
  attributes,
  infer([x], { dims }, site) {
    site.requireDense(0, ...dtypes);
    if (!broadcastsTo(x!.dims, dims)) site.shape(`x that broadcasts to ${formatDims(dims)}`);
    return [dense(x!.dtype, dims)];
  },
  evaluate([x], _attributes, [type]) {
    const data = allocate(type!.dtype, sizeOf(type!.dims));
    const read = broadcastReader(x!, type!.dims);
    for (let i = 0; i < data.length; i++) data[i] = read(i);
    return [{ type: type!, data }];
  },
  gradient: ({ operands: [x], gradients: [g], emit }) => [sumTo(g!, x!.type.dims, emit)],
};
