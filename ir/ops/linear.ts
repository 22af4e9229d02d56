import { z } from "zod";
import type { Value } from "../graph.ts";
import { arg, substitute } from "../scalar.ts";
import { sizeOf, toFloat32 } from "../tensor.ts";
import { dense } from "../types.ts";
import { leading, type Op, scalarExprSchema } from "./define.ts";
import { expressionGradients } from "./elementwise-gradient.ts";
import { applyEpilogue, requireEpilogue } from "./epilogue.ts";
import { weightDims } from "./weight.ts";

const attributes = z.strictObject({
  /** What is stored for each element, over `acc` (f32) and the extras; `acc` itself when absent. */
  epilogue: scalarExprSchema.optional(),
});

/** x [..., K] times the rows of w [N, K] -> [..., N]; extras broadcast to [..., N]. */
export const linear: Op<typeof attributes> = {
  summary:
    "Dense product y = epilogue(sum over k of x * w). Weights may be f32, f16, bf16 or encoded (code * scale). " +
    "The reference sums in f64 and rounds once.",
  operands: ["x", "w", "extras..."],
  attributes,
  infer([x, w, ...extras], { epilogue }, site) {
    site.requireDense(0, "f32");
    const [n, k] = weightDims(w!, "w", site);
    if (x!.dims.at(-1) !== k) site.shape("x [..., K] and w [N, K] with the same K");
    const dims = [...leading(x!.dims), n];
    requireEpilogue(epilogue, "f32", extras, dims, site);
    return [dense("f32", dims)];
  },
  evaluate([x, w, ...extras], { epilogue }, [type]) {
    const [n = 0, k = 0] = w!.type.dims;
    const rows = sizeOf(x!.type.dims.slice(0, -1));
    const product = denseProduct(toFloat32(x!), toFloat32(w!), rows, n, k);
    return [{ type: type!, data: epilogue ? applyEpilogue(epilogue, product, extras, type!) : product }];
  },
  gradient({ operands: [x, w, ...extras], attributes: { epilogue }, gradients: [g], emit }) {
    let ofProduct = g!;
    let ofExtras: readonly (Value | undefined)[] = [];
    if (epilogue) {
      const product = emit.one("linear", [x!, w!], {});
      const expr = substitute(epilogue, (leaf) => (leaf.kind === "acc" ? arg(extras.length) : undefined));
      const all = expressionGradients(expr, [...extras, product], ofProduct, emit);
      ofExtras = all.slice(0, -1);
      ofProduct = all.at(-1)!;
    }
    return [
      emit.one("linear_input_gradient", [ofProduct, w!], {}),
      emit.one("linear_weight_gradient", [ofProduct, x!], {}),
      ...ofExtras,
    ];
  },
};

/** x [rows, k] times the rows of w [n, k], each sum in f64 in ascending order and rounded once. */
export function denseProduct(
  x: Float32Array,
  w: Float32Array,
  rows: number,
  n: number,
  k: number,
): Float32Array {
  const out = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i]! * w[column * k + i]!;
      out[row * n + column] = sum;
    }
  }
  return out;
}
