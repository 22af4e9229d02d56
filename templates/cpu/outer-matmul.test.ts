import { describe, expect, test } from "vitest";
import { KernelHost } from "../../test/support/kernel-host.ts";
import {
  expectOuter,
  leftOperand,
  type OuterShape,
  type RightOperand,
  rightOperands,
} from "../../test/support/kernels/outer.ts";

const host = new KernelHost(64);

/** m, n, p: tails of tiles, several items either way, and more rows of b than a panel holds. */
const shapes: readonly OuterShape[] = [
  [1, 1, 1],
  [3, 5, 2],
  [5, 8, 7],
  [70, 9, 30],
  [4, 130, 20],
  [6, 70, 530],
  [150, 260, 9],
  [131, 7, 259],
];

async function multiply(right: RightOperand, shape: OuterShape, byColumns: boolean) {
  const [m, n, p] = shape;
  const grouped = right.group !== undefined;
  const scaled = right.b === "int8" || (right.b === "ternary" && !grouped);
  const options = { b: right.b, scaled, grouped, byColumns };
  const kernel = await host.compile("outer-matmul.ts", "outerMatmul", options);
  host.reset();
  const left = leftOperand(shape, byColumns);
  const out = host.place(new Float32Array(m * n + 4).fill(42));
  const common = {
    a: host.place(left.data),
    out,
    b: host.place(right.bytes),
    scales: host.place(right.scales),
    scratch: host.place(new Float32Array(256 * 136 + 256)),
    ...{ m, n, p, aRow: left.aRow, aColumn: left.aColumn },
    ...{ bStride: right.stride, groupSize: right.group ?? n },
  };
  const items = Math.ceil(m / 16) * Math.ceil(n / 256);
  const middle = Math.ceil(items / 2);
  kernel({ ...common, begin: 0, end: 1 });
  if (middle > 1) kernel({ ...common, begin: 1, end: middle });
  kernel({ ...common, begin: middle, end: items });
  expect([...out.data.subarray(m * n)]).toEqual([42, 42, 42, 42]);
  expectOuter(out.data.subarray(0, m * n), left, right, shape, { fixedPoint: scaled });
}

describe.each(shapes)("m = %i, n = %i, p = %i", (...shape) => {
  test.each(rightOperands(shape).map((right) => [right.name, right] as const))(
    "%s, by rows and by columns of a",
    async (_, right) => {
      await multiply(right, shape, false);
      await multiply(right, shape, true);
    },
  );
});

test.each([
  ["rows", false],
  ["columns", true],
])(
  "in fixed point zeros, what is next to nothing, and no numbers stay in their rows, by %s",
  async (_, byColumns) => {
    const kernel = await host.compile("outer-matmul.ts", "outerMatmul", {
      ...{ b: "int8", scaled: true, grouped: false, byColumns },
    });
    host.reset();
    const rows = [0, 1e-38, 2 ** -110, 2 ** -101, 2 ** -99, 1, Number.NaN, Number.POSITIVE_INFINITY];
    const [m, n, p] = [rows.length, 8, 6];
    const [aRow, aColumn] = byColumns ? [1, m] : [p, 1];
    const a = new Float32Array(m * p);
    for (const [row, value] of rows.entries()) a[row * aRow + 3 * aColumn] = value;
    const out = host.place(new Float32Array(m * n));
    const given = {
      a: host.place(a),
      b: host.place(new Int8Array(p * n).fill(-128)),
      scales: host.place(new Float32Array(p).fill(1)),
      scratch: host.place(new Float32Array(256 * 136 + 256)),
      ...{ out, m, n, p, aRow, aColumn, bStride: n, groupSize: n, begin: 0, end: 1 },
    };
    kernel(given);
    const first = rows.map((_, row) => out.data[row * n]!);
    const numbers = rows.filter(Number.isFinite);
    for (const [row, value] of numbers.entries()) {
      const rounding = (128 * Math.max(value, 2 ** -100)) / 65_534;
      expect(Math.abs(first[row]! + 128 * value), `a row of ${value}`).toBeLessThanOrEqual(rounding);
    }
    expect(first.slice(-2)).toEqual([Number.NaN, Number.NaN]);
  },
);
