import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { allocate, sizeOf } from "../tensor.ts";
import { dense } from "../types.ts";
import { axisSchema, type Op, resolveAxis } from "./define.ts";

const attributes = z.strictObject({
  axis: axisSchema,
  /** The first index kept; negative counts from the end of the axis. */
  start: z.int(),
  size: z.int().min(1),
});

/** x of any dense dtype -> x with `size` elements of one axis. */
export const slice: Op<typeof attributes> = {
  summary:
    "A range of one axis. On a symbolic axis the range is checked when the model runs; " +
    "start -1, size 1 is the last element.",
  operands: ["x"],
  attributes,
  infer([x], { axis, start, size }, site) {
    if (x!.encoding) site.dtype("a dense x");
    const resolved = resolveAxis(axis, x!.dims.length, site);
    const length = x!.dims[resolved]!;
    const begin = start < 0 && typeof length === "number" ? start + length : start;
    const beyond =
      typeof length === "number" ? begin < 0 || begin + size > length : start < 0 && start + size > 0;
    if (beyond)
      site.attribute(
        `a range within the ${length} elements of axis ${resolved}`,
        `start ${start}, size ${size}`,
      );
    return [dense(x!.dtype, x!.dims.with(resolved, size))];
  },
  evaluate([x], { axis, start, size }, [type]) {
    const { dims } = x!.type;
    const resolved = axis < 0 ? axis + dims.length : axis;
    const length = dims[resolved]!;
    const begin = start < 0 ? start + length : start;
    if (begin < 0 || begin + size > length) {
      throw new BitloomError("INVALID_INPUT", `slice: an axis of ${length} elements is too short`, {
        received: `start ${start}, size ${size}`,
      });
    }
    const inner = sizeOf(dims.slice(resolved + 1));
    const data = allocate(type!.dtype, sizeOf(type!.dims));
    for (let outer = 0; outer * size * inner < data.length; outer++) {
      const from = (outer * length + begin) * inner;
      data.set(x!.data.subarray(from, from + size * inner), outer * size * inner);
    }
    return [{ type: type!, data }];
  },
  gradient({ operands: [x], attributes: { axis, start }, gradients: [g], emit }) {
    return [emit.one("pad", [g!], { axis, start, length: x!.type.dims.at(axis)! })];
  },
};
