/** Products out = a @ b with b row-major along the columns of out, whatever the target. */
import { expect } from "vitest";
import { groupLengths, packGroupScales, packTernaryCodes } from "../pack.ts";
import { denseWeights } from "./dense.ts";
import { pseudoRandom } from "./floats.ts";

/** out[m, n] is a sum over p rows of b. */
export type OuterShape = readonly [m: number, n: number, p: number];

/** b as kernels read it. */
export interface RightOperand {
  readonly name: string;
  /** Element type, "ternary" among them. */
  readonly b: string;
  readonly bytes: Uint8Array | Int8Array;
  readonly scales: Float32Array;
  /** Elements between rows. */
  readonly stride: number;
  /** Columns that share a scale. */
  readonly group?: number | undefined;
  readonly value: (row: number, column: number) => number;
}

/** One of each kind that kernels read. */
export function rightOperands([, n, p]: OuterShape): RightOperand[] {
  return [
    ...["f32", "f16", "bf16"].map((b) => dense(b, n, p)),
    paddedCodes(n, p),
    ...[undefined, 64, 5, 12].map((group) => ternary(n, p, group)),
  ];
}

function dense(b: string, n: number, p: number): RightOperand {
  const { bytes, scales, values } = denseWeights(b, p, n);
  return { name: b, b, bytes, scales, stride: n, value: (row, column) => values[row * n + column]! };
}

function paddedCodes(n: number, p: number): RightOperand {
  const stride = n + 5;
  const bytes = Int8Array.from({ length: p * stride + 16 }, (_, i) => ((i * 37) % 255) - 127);
  const scales = Float32Array.from({ length: p }, (_, i) => 0.01 + i / 100);
  const value = (row: number, column: number) => bytes[row * stride + column]! * scales[row]!;
  return { name: "int8 in padded rows", b: "int8", bytes, scales, stride, value };
}

function ternary(n: number, p: number, group?: number): RightOperand {
  const codes = Int8Array.from({ length: p * n }, (_, i) => ((i * 7 + (i >> 3)) % 3) - 1);
  const groups = groupLengths(n, group).length;
  const alpha = Float32Array.from({ length: p * groups }, (_, i) => 0.5 + i / 7);
  return {
    name: group === undefined ? "ternary" : `ternary in groups of ${group}`,
    b: "ternary",
    bytes: packTernaryCodes(codes, p, n, group),
    scales: packGroupScales(alpha, p, groups),
    stride: n,
    group,
    value: (row, column) =>
      codes[row * n + column]! * alpha[row * groups + Math.floor(column / (group ?? n))]!,
  };
}

/** a with gaps between rows, to be read by rows or by columns: element (i, l) is data[i * aRow + l * aColumn]. */
export function leftOperand([m, , p]: OuterShape, byColumns: boolean) {
  const [aRow, aColumn] = byColumns ? [1, m + 2] : [p + 3, 1];
  return { data: pseudoRandom(m * aRow + p * aColumn, 2), aRow, aColumn };
}

/**
 * Fails unless out = a @ b within the bound of a sum in any order; in fixed point, of half a code of the largest
 * a[i, l] * scale[l] of each panel of 256 rows for each code of b.
 */
export function expectOuter(
  out: Float32Array,
  { data, aRow, aColumn }: ReturnType<typeof leftOperand>,
  { value, scales, name }: RightOperand,
  [m, n, p]: OuterShape,
  { fixedPoint = false } = {},
): void {
  const a = (i: number, l: number) => data[i * aRow + l * aColumn]!;
  for (let i = 0; i < m; i++) {
    const largest = new Float64Array(Math.ceil(p / 256));
    for (let l = 0; l < p && fixedPoint; l++) {
      const panel = Math.floor(l / 256);
      largest[panel] = Math.max(largest[panel]!, Math.abs(a(i, l) * scales[l]!));
    }
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let allowed = 0;
      for (let l = 0; l < p; l++) {
        const product = a(i, l) * value(l, j);
        sum += product;
        allowed += (p + 4) * 2 ** -24 * Math.abs(product);
        if (fixedPoint) {
          allowed += (largest[Math.floor(l / 256)]! / 65_534) * Math.abs(value(l, j) / scales[l]!);
        }
      }
      const error = Math.abs(out[i * n + j]! - sum);
      expect(error, `${name}: ${i}, ${j}`).toBeLessThanOrEqual(allowed);
    }
  }
}
