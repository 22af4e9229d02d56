import { z } from "zod";
import { ternaryAccumulate } from "../numerics.ts";
import { dense, sameDims } from "../types.ts";
import { leading, type Op, scalarExprSchema } from "./define.ts";
import { applyEpilogue, requireEpilogue } from "./epilogue.ts";
import { requireExactAccumulation, ternaryEncoding, weightDims } from "./weight.ts";

const attributes = z.strictObject({
  /** What is stored, over `acc` (i32, or f32 for group scales) and the extras; `acc` itself when absent. */
  epilogue: scalarExprSchema.optional(),
});

/**
 * codes i8 [..., K], sum i32 [..., 1], w ternary [N, K], extras broadcast to [..., N] -> [..., N], f32 with an
 * epilogue, else i32 (or f32 for group scales).
 */
export const ternaryMatmul: Op<typeof attributes> = {
  summary:
    "Integer product of quantized rows with ternary weights. The scales of a per-tensor or per-row weight are " +
    "not applied: acc is exact i32. With group scales acc is the f32 sum over groups, ascending, of " +
    "RN(f32(acc_g) * alpha_g). `sum` must be the row sums of `codes`: kernels multiply code+1 and subtract it.",
  operands: ["codes", "sum", "w", "extras..."],
  attributes,
  infer([codes, sum, w, ...extras], { epilogue }, site) {
    site.requireDense(0, "i8");
    site.requireDense(1, "i32");
    const [n, k] = weightDims(w!, "w", site);
    const { scale } = ternaryEncoding(w!, "w", site);
    if (codes!.dims.at(-1) !== k) site.shape("codes [..., K] and w [N, K] with the same K");
    if (!sameDims(sum!.dims, [...leading(codes!.dims), 1])) site.shape("sum [..., 1] for codes [..., K]");
    const grouped = typeof scale === "object";
    requireExactAccumulation(grouped ? Math.min(k, scale.group) : k, site);
    const acc = grouped ? "f32" : "i32";
    const dims = [...leading(codes!.dims), n];
    requireEpilogue(epilogue, acc, extras, dims, site);
    return [dense(epilogue ? "f32" : acc, dims)];
  },
  evaluate([codes, sum, w, ...extras], { epilogue }, [type]) {
    const acc = ternaryAccumulate(codes!.data as Int8Array, sum!.data.length, w!);
    return [{ type: type!, data: epilogue ? applyEpilogue(epilogue, acc, extras, type!) : acc }];
  },
  gradient: { hint: "Take gradients before lower-bitlinear: bit_linear has the straight-through estimator." },
};
