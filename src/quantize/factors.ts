import { absmean } from "../../ir/numerics.ts";
import { toFloat32 } from "../../ir/tensor.ts";
import type { ScaleGranularity } from "../../ir/types.ts";

/** Factors of a low-rank correction U · V^T: `u` [n, rank], `v` [k, rank], row-major. */
export interface Factors {
  readonly u: Float32Array;
  readonly v: Float32Array;
}

/** What quantization takes from a weight [n, k]: w - dequantized(absmean(w)). */
export function quantizationResidual(
  w: Float32Array,
  n: number,
  k: number,
  scale: ScaleGranularity,
): Float32Array {
  const quantized = toFloat32(absmean(w, n, k, scale));
  return w.map((value, i) => value - quantized[i]!);
}

/**
 * The best approximation of a matrix [n, k] by one of this rank (Eckart and Young): U = U_r · sqrt(S_r) and
 * V = V_r · sqrt(S_r), from the whole singular value decomposition, in f64. Its time grows with n · k · min(n, k).
 */
export async function svdFactors(matrix: Float32Array, n: number, k: number, rank: number): Promise<Factors> {
  // Loaded where it is used: nothing else needs linear algebra.
  const { Matrix, SVD } = await import("ml-matrix");
  const svd = new SVD(Matrix.from1DArray(n, k, matrix), { autoTranspose: true });
  const roots = svd.diagonal.slice(0, rank).map(Math.sqrt);
  const scaled = (vectors: InstanceType<typeof Matrix>, rows: number) =>
    Float32Array.from({ length: rows * rank }, (_, i) => {
      const column = i % rank;
      return vectors.get(Math.floor(i / rank), column) * roots[column]!;
    });
  return { u: scaled(svd.leftSingularVectors, n), v: scaled(svd.rightSingularVectors, k) };
}

/**
 * A correction that adds nothing yet and can still learn: U is zero, and V uniform within +-1 / sqrt(k), as the
 * factors of LoRA begin (arXiv:2106.09685).
 * @param random uniform in [0, 1)
 */
export function zeroFactors(n: number, k: number, rank: number, random: () => number): Factors {
  const bound = 1 / Math.sqrt(k);
  return {
    u: new Float32Array(n * rank),
    v: Float32Array.from({ length: k * rank }, () => (2 * random() - 1) * bound),
  };
}

/** matrix - U · V^T */
export function without(matrix: Float32Array, { u, v }: Factors, k: number, rank: number): Float32Array {
  return matrix.map((value, i) => {
    const [row, column] = [Math.floor(i / k), i % k];
    let sum = 0;
    for (let j = 0; j < rank; j++) sum += u[row * rank + j]! * v[column * rank + j]!;
    return value - sum;
  });
}

/** Frobenius norm, summed in f64. */
export function frobenius(matrix: Float32Array): number {
  let sum = 0;
  for (const value of matrix) sum += value * value;
  return Math.sqrt(sum);
}
