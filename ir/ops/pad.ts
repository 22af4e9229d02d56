import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { allocate, sizeOf } from "../tensor.ts";
import { dense } from "../types.ts";
import { axisSchema, dimSchema, type Op, resolveAxis } from "./define.ts";

const attributes = z.strictObject({
  axis: axisSchema,
  /** Where the first element of x lands; negative counts from the end of the padded axis. */
  start: z.int(),
  /** The padded axis. */
  length: dimSchema,
});

/** x f32, with a literal axis -> the same with `length` elements along it. */
export const pad: Op<typeof attributes> = {
  summary: "Puts x into a range of an axis and zeros around it: what `slice` with the same start takes out.",
  operands: ["x"],
  attributes,
  infer([x], { axis, start, length }, site) {
    site.requireDense(0, "f32");
    const resolved = resolveAxis(axis, x!.dims.length, site);
    const size = x!.dims[resolved]!;
    if (typeof size !== "number") return site.shape(`x with a literal axis ${resolved}`);
    const begin = start < 0 && typeof length === "number" ? start + length : start;
    const beyond =
      typeof length === "number" ? begin < 0 || begin + size > length : start < 0 && start + size > 0;
    if (beyond) site.attribute(`room for ${size} elements within ${length}`, `start ${start}`);
    return [dense(x!.dtype, x!.dims.with(resolved, length))];
  },
  evaluate([x], { axis, start }, [type]) {
    const { dims } = type!;
    const resolved = axis < 0 ? axis + dims.length : axis;
    const length = dims[resolved]!;
    const size = x!.type.dims[resolved]!;
    const begin = start < 0 ? start + length : start;
    if (begin < 0 || begin + size > length) {
      throw new BitloomError("INVALID_INPUT", `pad: an axis of ${length} elements is too short`, {
        received: `start ${start}, size ${size}`,
      });
    }
    const inner = sizeOf(dims.slice(resolved + 1));
    const data = allocate(type!.dtype, sizeOf(dims));
    for (let outer = 0; outer * size * inner < x!.data.length; outer++) {
      const span = x!.data.subarray(outer * size * inner, (outer + 1) * size * inner);
      data.set(span, (outer * length + begin) * inner);
    }
    return [{ type: type!, data }];
  },
  gradient({ operands: [x], attributes: { axis, start }, gradients: [g], emit }) {
    return [emit.one("slice", [g!], { axis, start, size: x!.type.dims.at(axis) as number })];
  },
};
