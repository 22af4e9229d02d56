import { z } from "zod";
import { absmean, quantizeRows, ternaryAccumulate } from "../numerics.ts";
import { sizeOf, type Tensor, toFloat32 } from "../tensor.ts";
import { dense, formatEncoding, sameScale } from "../types.ts";
import { leading, type Op, scaleSchema } from "./define.ts";
import { sumTo } from "./elementwise-gradient.ts";
import { denseProduct } from "./linear.ts";
import { requireExactAccumulation, weightDims } from "./weight.ts";

const attributes = z.strictObject({
  /** Granularity of the absmean scale of a plain weight; an encoded weight must have the same. */
  weight_scale: scaleSchema,
  /** Absmax quantization of the input; null leaves it f32. */
  activation: z
    .strictObject({ bits: z.int().min(2).max(8), granularity: z.enum(["row", "tensor"]) })
    .nullable(),
});

const RN = Math.fround;

/** BitLinear of BitNet b1.58. The input keeps its leading axes: x [..., K], w [N, K] -> [..., N]. */
export const bitLinear: Op<typeof attributes> = {
  summary:
    "Linear layer with ternary weights: y = quantize(x) . absmean(w), rescaled, plus bias. " +
    "y = RN(RN(f32(acc) * d) * alpha), the bias added last; group scales are applied per group, then d.",
  operands: ["x", "w", "bias?"],
  attributes,
  infer([x, w, bias], { weight_scale, activation }, site) {
    site.requireDense(0, "f32");
    const [n, k] = weightDims(w!, "w", site);
    if (w!.dtype !== "f32" || w!.encoding?.kind === "int8") site.dtype("w of f32, plain or ternary");
    if (w!.encoding && !sameScale(w!.encoding.scale, weight_scale)) {
      site.attribute(
        `weight_scale as w has it: ${formatEncoding(w!.encoding)}`,
        JSON.stringify(weight_scale),
      );
    }
    if (x!.dims.at(-1) !== k) site.shape("x [..., K] and w [N, K] with the same K");
    if (bias) {
      site.requireDense(2, "f32");
      if (bias.dims.length !== 1 || bias.dims[0] !== n) site.shape("bias [N]");
    }
    if (activation) {
      requireExactAccumulation(typeof weight_scale === "object" ? Math.min(k, weight_scale.group) : k, site);
    }
    return [dense("f32", [...leading(x!.dims), n])];
  },
  evaluate([x, w, bias], { weight_scale, activation }, [type]) {
    const [n = 0, k = 0] = w!.type.dims;
    const weight = w!.type.encoding ? w! : absmean(toFloat32(w!), n, k, weight_scale);
    const rows = sizeOf(leading(x!.type.dims) as number[]);
    const y = activation
      ? quantizedProduct(toFloat32(x!), weight, activation)
      : denseProduct(toFloat32(x!), toFloat32(weight), rows, n, k);
    if (bias) for (let i = 0; i < y.length; i++) y[i] = y[i]! + (bias.data[i % n] as number);
    return [{ type: type!, data: y }];
  },
  /**
   * Straight through both quantizers: identity, no clip mask, scales detached. So dx = g @ Wq and dw = g^T @ Xq over
   * the dequantized weights and activations, whose codes are those of the forward product.
   */
  gradient({
    operands: [x, w, bias],
    attributes: { weight_scale: scale, activation },
    gradients: [g],
    emit,
  }) {
    const weight = w!.type.encoding ? w! : emit.one("absmean_quantize", [w!], { scale });
    const [codes, d] = activation ? emit.apply("quantize", [x!], { ...activation }) : [];
    return [
      emit.one("linear_input_gradient", [g!, weight], {}),
      emit.one("linear_weight_gradient", codes && d ? [g!, codes, d] : [g!, x!], {}),
      bias && sumTo(g!, bias.type.dims, emit),
    ];
  },
};

function quantizedProduct(
  x: Float32Array,
  weight: Tensor,
  activation: { bits: number; granularity: "row" | "tensor" },
): Float32Array {
  const [n = 0, k = 0] = weight.type.dims;
  const { codes, scales } = quantizeRows(x, k, activation.bits, activation.granularity);
  const acc = ternaryAccumulate(codes, scales.length, weight);
  const { scale } = weight.type.encoding!;
  const y = new Float32Array(acc.length);
  for (let i = 0; i < y.length; i++) {
    const rescaled = RN(RN(acc[i]!) * scales[Math.floor(i / n)]!);
    if (typeof scale === "object") y[i] = rescaled;
    else y[i] = rescaled * weight.scales![scale === "tensor" ? 0 : i % n]!;
  }
  return y;
}
