import { toFloat32 } from "../tensor.ts";
import { dense, sameDims } from "../types.ts";
import { leading, literalLastDim, noAttributes, type Op } from "./define.ts";

/** g f32 [..., N] and x f32 [..., K], or x i8 [..., K] with d f32 [..., 1] -> f32 [N, K]. */
export const linearWeightGradient: Op<typeof noAttributes> = {
  summary:
    "Gradient of `linear` and `bit_linear` by their weight, g^T @ x over all rows: " +
    "y[n, k] = sum over rows of g[n] * x[k]. Activation codes count as code * d. " +
    "The reference sums in f64 and rounds once.",
  operands: ["g", "x", "d?"],
  attributes: noAttributes,
  infer([g, x, d], _attributes, site) {
    site.requireDense(0, "f32");
    site.requireDense(1, d ? "i8" : "f32");
    const n = literalLastDim(g!, "g", site);
    const k = literalLastDim(x!, "x", site);
    if (!sameDims(leading(g!.dims), leading(x!.dims)))
      site.shape("g [..., N] and x [..., K] with equal rows");
    if (d) {
      site.requireDense(2, "f32");
      if (!sameDims(d.dims, [...leading(x!.dims), 1])) site.shape("d [..., 1] for x [..., K]");
    }
    return [dense("f32", [n, k])];
  },
  evaluate([g, x, d], _attributes, [type]) {
    const [n = 0, k = 0] = type!.dims;
    const gradients = toFloat32(g!);
    const sums = new Float64Array(n * k);
    for (let row = 0; row * n < gradients.length; row++) {
      const scale = d ? d.data[row]! : 1;
      for (let i = 0; i < n; i++) {
        const gradient = gradients[row * n + i]! * scale;
        for (let column = 0; column < k; column++) {
          sums[i * k + column]! += gradient * x!.data[row * k + column]!;
        }
      }
    }
    return [{ type: type!, data: Float32Array.from(sums) }];
  },
  gradient({ operands: [g, x, d], gradients: [h], emit }) {
    if (d)
      return { hint: "Codes are integers: only the first derivative of a quantized product is defined." };
    return [emit.one("linear", [x!, h!], {}), emit.one("linear_input_gradient", [g!, h!], {})];
  },
};
