import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gpuKernel } from "../../test/support/kernels/gpu-variants.ts";

type Kind = "sum" | "mean" | "max" | "min";

/** [outer, length, inner] of whole numbers, whose sums are exact in any order. */
interface Shape {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}
const shape = fc.record({
  outer: fc.integer({ min: 1, max: 3 }),
  length: fc.integer({ min: 1, max: 130 }),
  inner: fc.integer({ min: 1, max: 20 }),
});
const valueAt = (o: number, l: number, i: number) => ((o * 7919 + l * 104_729 + i * 1299) % 201) - 100;

function expected(kind: Kind, { length }: Shape, o: number, i: number): number {
  const values = Array.from({ length }, (_, l) => valueAt(o, l, i));
  if (kind === "max") return Math.max(...values);
  if (kind === "min") return Math.min(...values);
  const sum = values.reduce((a, b) => a + b, 0);
  return kind === "sum" ? sum : sum / length;
}

describe.each([1, 8, 32])("reduce, %i columns a workgroup", (columns) => {
  test.each(["sum", "mean", "max", "min"] as const)("%s of any shape, however it lies", async (kind) => {
    const kernel = await gpuKernel("reduce.ts", "reduce", { workgroupSize: 32, columns, kind });
    await fc.assert(
      fc.asyncProperty(shape, fc.constantFrom("oli", "lio", "iol"), async (shape, order) => {
        const lengths = { o: shape.outer, l: shape.length, i: shape.inner };
        const strides = { o: 0, l: 0, i: 0 };
        let size = 1;
        for (const axis of [...order].reverse() as (keyof typeof lengths)[]) {
          strides[axis] = size;
          size *= lengths[axis];
        }
        const x = new Float32Array(size);
        const { outer, length, inner } = shape;
        for (let o = 0; o < outer; o++) {
          for (let l = 0; l < length; l++) {
            for (let i = 0; i < inner; i++)
              x[o * strides.o + l * strides.l + i * strides.i] = valueAt(o, l, i);
          }
        }
        const out = new Float32Array(outer * inner + 1).fill(42);
        const steps = { outerStride: strides.o, stride: strides.l, innerStride: strides.i };
        // A workgroup may have several tiles.
        await kernel({ x, out, ...shape, ...steps }, { workgroups: 3 });
        expect(out.at(-1)).toBe(42);
        out.subarray(0, -1).forEach((value, at) => {
          const want = expected(kind, shape, Math.floor(at / inner), at % inner);
          const allowed = kind === "mean" ? Math.abs(want) * 2 ** -21 : 0;
          expect(Math.abs(value - want)).toBeLessThanOrEqual(allowed);
        });
      }),
      { numRuns: 25 },
    );
  });
});
