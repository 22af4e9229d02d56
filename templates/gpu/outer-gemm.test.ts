import { describe, expect, test } from "vitest";
import { gpuKernel } from "../../test/support/kernels/gpu-variants.ts";
import {
  expectOuter,
  leftOperand,
  type OuterShape,
  type RightOperand,
  rightOperands,
} from "../../test/support/kernels/outer.ts";

/** m, n, p: tails of tiles of 8 rows and 16 columns, several tiles either way, more than one step of b's rows. */
const shapes: readonly OuterShape[] = [
  [1, 1, 1],
  [3, 5, 2],
  [9, 130, 20],
  [20, 70, 37],
];

/** Rows from `cut` on are a dispatch of their own, which adds to what the first left. */
async function multiply(right: RightOperand, shape: OuterShape, byColumns: boolean, cut: number) {
  const [m, n, p] = shape;
  const kernel = await gpuKernel("outer-gemm.ts", "outerGemm", {
    ...{ workgroupSize: 32, subgroups: false, rowThreads: 4, edge: 2 },
    ...{ b: right.b, grouped: right.group !== undefined },
    ...{ adjacentRows: byColumns, adjacentColumns: true },
  });
  const left = leftOperand(shape, byColumns);
  const out = new Float32Array(m * n + 4).fill(42);
  const { aRow, aColumn } = left;
  const common = {
    a: left.data,
    out,
    m,
    n,
    aRow,
    aColumn,
    bStride: right.stride,
    groupSize: right.group ?? 0,
  };
  for (const [first, last] of [
    [0, cut],
    [cut, p],
  ] as const) {
    if (first === last) continue;
    const rows = {
      b: right.bytes.slice((right.bytes.length / p) * first),
      scales: right.scales.slice((right.scales.length / p) * first),
    };
    await kernel(
      { ...common, ...(first > 0 ? rows : { b: right.bytes, scales: right.scales }), first, p: last - first },
      { workgroups: [Math.ceil(n / 16), Math.ceil(m / 8)] },
    );
  }
  expect([...out.subarray(m * n)]).toEqual([42, 42, 42, 42]);
  expectOuter(out.subarray(0, m * n), left, right, shape);
}

describe.each(shapes)("m = %i, n = %i, p = %i", (...shape) => {
  test.each(rightOperands(shape).map((right) => [right.name, right] as const))("%s", async (name, right) => {
    const [, n, p] = shape;
    // Only where four rows, or one, are whole bytes of their own may they be cut off.
    const cut = p === 20 && name !== "int8 in padded rows" && n % 2 === 0 ? 8 : p;
    await multiply(right, shape, right.b === "f32" || right.b === "int8", cut);
  });
});
