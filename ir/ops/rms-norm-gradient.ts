import { z } from "zod";
import { toFloat32 } from "../tensor.ts";
import { sameDims } from "../types.ts";
import { firstDerivativeOnly, numberSchema, type Op } from "./define.ts";

const attributes = z.strictObject({ eps: numberSchema });

/** x f32 [..., K], w f32 [K], g f32 [..., K] -> dx f32 [..., K], dw f32 [K]. */
export const rmsNormGradient: Op<typeof attributes> = {
  summary:
    "Gradients of `rms_norm` from that of its result. With r = rsqrt(mean(x^2) + eps) and h = g * w: " +
    "dx = r * (h - x * r^2 * mean(h * x)), dw = sum over rows of g * x * r. The reference sums in f64.",
  operands: ["x", "w", "g"],
  attributes,
  infer([x, w, g], _attributes, site) {
    for (const index of [0, 1, 2]) site.requireDense(index, "f32");
    if (x!.dims.length === 0 || w!.dims.length !== 1 || w!.dims[0] !== x!.dims.at(-1)) {
      site.shape("x [..., K] and w [K]");
    }
    if (!sameDims(x!.dims, g!.dims)) site.shape("g with the shape of x");
    return [x!, w!];
  },
  evaluate([x, w, g], { eps }, [type, weightType]) {
    const k = weightType!.dims[0]!;
    const [values, weights, gradients] = [toFloat32(x!), toFloat32(w!), toFloat32(g!)];
    const dx = new Float32Array(values.length);
    const dw = new Float64Array(k);
    for (let begin = 0; begin < values.length; begin += k) {
      let squares = 0;
      let products = 0;
      for (let i = 0; i < k; i++) {
        const value = values[begin + i]!;
        squares += value * value;
        products += gradients[begin + i]! * weights[i]! * value;
      }
      const r = 1 / Math.sqrt(squares / k + Math.fround(eps));
      const pull = (r * r * products) / k;
      for (let i = 0; i < k; i++) {
        const value = values[begin + i]!;
        const gradient = gradients[begin + i]!;
        dx[begin + i] = r * (gradient * weights[i]! - value * pull);
        dw[i]! += gradient * value * r;
      }
    }
    return [
      { type: type!, data: dx },
      { type: weightType!, data: Float32Array.from(dw) },
    ];
  },
  gradient: firstDerivativeOnly,
};
