import { z } from "zod";
import { normalizeRows } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({ eps: numberSchema });

/** x f32 [..., K], w f32 [K] -> f32 [..., K]. The sub-norms of BitNet are this op too. */
export const rmsNorm: Op<typeof attributes> = {
  summary: "Root mean square norm over the last axis: y = w * (x * rsqrt(mean(x^2) + eps)).",
  operands: ["x", "w"],
  attributes,
  infer([x, w], _attributes, site) {
    site.requireDense(0, "f32");
    site.requireDense(1, "f32");
    if (x!.dims.length === 0 || w!.dims.length !== 1 || w!.dims[0] !== x!.dims.at(-1)) {
      site.shape("x [..., K] and w [K]");
    }
    return [x!];
  },
  evaluate([x, w], { eps }, [type]) {
    const data = normalizeRows(toFloat32(x!), x!.type.dims.at(-1)!, toFloat32(w!), eps);
    return [{ type: type!, data }];
  },
  gradient: ({ operands: [x, w], attributes, gradients: [g], emit }) =>
    emit.apply("rms_norm_gradient", [x!, w!, g!], attributes),
};
