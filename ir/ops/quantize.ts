import { z } from "zod";
import { normalizeRows, quantizeRows } from "../numerics.ts";
import { arg, type ScalarExpr } from "../scalar.ts";
import { toFloat32 } from "../tensor.ts";
import { broadcast, dense } from "../types.ts";
import { leading, literalLastDim, numberSchema, type Op, scalarExprSchema } from "./define.ts";
import { applyEpilogue, requireScalar } from "./epilogue.ts";

const attributes = z.strictObject({
  bits: z.int().min(2).max(8),
  /** One scale a row, or one for everything (then still given once a row). */
  granularity: z.enum(["row", "tensor"]),
  /** What is quantized, over `x0`, `x1`, …; `x0` when absent. */
  prologue: scalarExprSchema.optional(),
  /** When present the last operand is a norm weight f32 [K], and rms_norm(prologue, weight, eps) is quantized. */
  eps: numberSchema.optional(),
});

const identity: ScalarExpr = arg(0);

/** x0, x1, … broadcast to [..., K] -> codes i8 [..., K], d f32 [..., 1], sum i32 [..., 1]. */
export const quantize: Op<typeof attributes> = {
  summary:
    "Absmax quantization of rows to signed integers. With qmax = 2^(bits-1) - 1 and a = max(absmax, 1e-5): " +
    "codes = clamp(RNE(RN(x * RN(qmax * RN(1/a)))), -(qmax+1), qmax), d = RN(a * RN(1/qmax)); `sum` is the sum " +
    "of a row's codes. A row with NaN, infinity or a magnitude above 2^126 has codes 0 and d NaN.",
  operands: ["x", "others..."],
  attributes,
  infer(operands, { prologue, eps }, site) {
    const weight = eps === undefined ? undefined : operands.at(-1);
    const args = weight ? operands.slice(0, -1) : operands;
    if (args.length === 0) site.shape("x besides the norm weight");
    if (!prologue && args.length > 1) site.shape("one x without a prologue");
    requireScalar(prologue ?? identity, undefined, args, site);
    const dims = broadcast(...args.map((x) => x.dims)) ?? site.shape("operands that broadcast together");
    const k = literalLastDim(dense("f32", dims), "x", site);
    if (weight) {
      site.requireDense(operands.length - 1, "f32");
      if (weight.dims.length !== 1 || weight.dims[0] !== k)
        site.shape("a norm weight [K] as the last operand");
    }
    const perRow = [...leading(dims), 1];
    return [dense("i8", dims), dense("f32", perRow), dense("i32", perRow)];
  },
  evaluate(operands, { bits, granularity, prologue, eps }, [codesType, scalesType, sumsType]) {
    const k = codesType!.dims.at(-1)!;
    const args = eps === undefined ? operands : operands.slice(0, -1);
    const value = applyEpilogue(prologue ?? identity, undefined, args, codesType!);
    const x = eps === undefined ? value : normalizeRows(value, k, toFloat32(operands.at(-1)!), eps);
    const { codes, scales, sums } = quantizeRows(x, k, bits, granularity);
    return [
      { type: codesType!, data: codes },
      { type: scalesType!, data: scales },
      { type: sumsType!, data: sums },
    ];
  },
  gradient: { hint: "Take gradients before lower-bitlinear: bit_linear has the straight-through estimator." },
};
