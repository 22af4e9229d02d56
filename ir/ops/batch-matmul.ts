import type { Value } from "../graph.ts";
import { sizeOf, toFloat32 } from "../tensor.ts";
import { dense, sameDims } from "../types.ts";
import { type Emit, leading, noAttributes, type Op } from "./define.ts";

/** a f32 [..., M, K] times the rows of b f32 [..., N, K] -> f32 [..., M, N], for each index of the equal leading axes. */
export const batchMatmul: Op<typeof noAttributes> = {
  summary:
    "Products of activations, a . b^T for each matrix: y[m, n] = sum over k of a[m, k] * b[n, k]. " +
    "The reference sums in f64 and rounds once.",
  operands: ["a", "b"],
  attributes: noAttributes,
  infer([a, b], _attributes, site) {
    site.requireDense(0, "f32");
    site.requireDense(1, "f32");
    const outer = leading(leading(a!.dims));
    if (
      a!.dims.length < 2 ||
      !sameDims(outer, leading(leading(b!.dims))) ||
      a!.dims.at(-1) !== b!.dims.at(-1)
    ) {
      site.shape("a [..., M, K] and b [..., N, K] with the same leading axes and K");
    }
    return [dense("f32", [...outer, a!.dims.at(-2)!, b!.dims.at(-2)!])];
  },
  evaluate([a, b], _attributes, [type]) {
    const [m = 0, n = 0] = type!.dims.slice(-2);
    const k = a!.type.dims.at(-1)!;
    const [left, right] = [toFloat32(a!), toFloat32(b!)];
    const data = new Float32Array(sizeOf(type!.dims));
    for (let i = 0; i < data.length; i++) {
      const [row, column] = [Math.floor(i / n), i % n];
      const first = Math.floor(row / m) * n + column;
      let sum = 0;
      for (let j = 0; j < k; j++) sum += left[row * k + j]! * right[first * k + j]!;
      data[i] = sum;
    }
    return [{ type: type!, data }];
  },
  /** da = g @ b and db = g^T @ a. */
  gradient({ operands: [a, b], gradients: [g], emit }) {
    return [
      emit.one("batch_matmul", [g!, transposed(b!, emit)], {}),
      emit.one("batch_matmul", [transposed(g!, emit), transposed(a!, emit)], {}),
    ];
  },
};

/** [..., M, K] -> [..., K, M] */
function transposed(x: Value, emit: Emit): Value {
  const axes = x.type.dims.map((_, axis) => axis);
  return emit.one("transpose", [x], { permutation: [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!] });
}
