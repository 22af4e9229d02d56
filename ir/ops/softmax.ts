import { softmaxRow } from "../numerics.ts";
import { toFloat32 } from "../tensor.ts";
import { noAttributes, type Op } from "./define.ts";

/** x f32 [..., K] -> f32 [..., K]. */
export const softmax: Op<typeof noAttributes> = {
  summary: "Softmax over the last axis: e^(x - max) / sum.",
  operands: ["x"],
  attributes: noAttributes,
  infer([x], _attributes, site) {
    site.requireDense(0, "f32");
    if (x!.dims.length === 0) site.shape("x with at least one axis");
    return [x!];
  },
  evaluate([x], _attributes, [type]) {
    const k = x!.type.dims.at(-1)!;
    const from = toFloat32(x!);
    const data = new Float32Array(from.length);
    for (let begin = 0; begin < data.length; begin += k)
      data.set(softmaxRow(from.subarray(begin, begin + k)), begin);
    return [{ type: type!, data }];
  },
  /** dx = y * (g - sum(g * y)). */
  gradient({ results: [y], gradients: [g], emit }) {
    const product = emit.one("mul", [g!, y!], {});
    const total = emit.one("sum", [product], { axis: -1, keep_dims: true });
    return [emit.one("mul", [y!, emit.one("sub", [g!, total], {})], {})];
  },
};
