import { sizeOf, toFloat32 } from "../tensor.ts";
import { dense } from "../types.ts";
import { leading, noAttributes, type Op } from "./define.ts";
import { weightDims } from "./weight.ts";

/** g f32 [..., N], w [N, K] in any form -> f32 [..., K]. */
export const linearInputGradient: Op<typeof noAttributes> = {
  summary:
    "Gradient of `linear` and `bit_linear` by their input, g @ w: y[k] = sum over n of g[n] * w[n, k]. " +
    "A ternary weight counts as code * scale. The reference sums in f64 and rounds once.",
  operands: ["g", "w"],
  attributes: noAttributes,
  infer([g, w], _attributes, site) {
    site.requireDense(0, "f32");
    const [n, k] = weightDims(w!, "w", site);
    if (g!.dims.at(-1) !== n) site.shape("g [..., N] and w [N, K] with the same N");
    return [dense("f32", [...leading(g!.dims), k])];
  },
  evaluate([g, w], _attributes, [type]) {
    const [n = 0, k = 0] = w!.type.dims;
    const gradients = toFloat32(g!);
    const weights = toFloat32(w!);
    const data = new Float32Array(sizeOf(type!.dims));
    const sums = new Float64Array(k);
    for (let row = 0; row * n < gradients.length; row++) {
      sums.fill(0);
      for (let i = 0; i < n; i++) {
        const gradient = gradients[row * n + i]!;
        for (let column = 0; column < k; column++) sums[column]! += gradient * weights[i * k + column]!;
      }
      data.set(sums, row * k);
    }
    return [{ type: type!, data }];
  },
  gradient: ({ operands: [g, w], gradients: [h], emit }) => [
    emit.one("linear", [h!, w!], {}),
    emit.one("linear_weight_gradient", [g!, h!], {}),
  ],
};
