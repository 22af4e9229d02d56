import { z } from "zod";
import { tensor } from "../tensor.ts";
import { dense, dtypes } from "../types.ts";
import { axisSchema, type Op, resolveAxis } from "./define.ts";

const attributes = z.strictObject({ axis: axisSchema });

/** x of any dense dtype -> f32 []. */
export const axisLength: Op<typeof attributes> = {
  summary: "The number of elements along an axis, which a symbol may leave open until the model runs.",
  operands: ["x"],
  attributes,
  infer([x], { axis }, site) {
    site.requireDense(0, ...dtypes);
    resolveAxis(axis, x!.dims.length, site);
    return [dense("f32", [])];
  },
  evaluate([x], { axis }) {
    return [tensor("f32", [], [x!.type.dims.at(axis)!])];
  },
  gradient: "zero",
};
