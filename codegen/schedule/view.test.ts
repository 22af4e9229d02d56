import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import {
  broadcastView,
  contiguousView,
  isContiguous,
  mergeAxes,
  reshapeView,
  rowsOf,
  sliceView,
  transposeView,
  type View,
} from "./view.ts";

/** Buffer positions of a view's elements in row-major order. */
function positions(view: View<unknown>): number[] {
  let at = [view.offset as number];
  view.dims.forEach((dim, axis) => {
    const steps = Array.from({ length: dim as number }, (_, i) => i * (view.strides[axis] as number));
    at = at.flatMap((base) => steps.map((step) => base + step));
  });
  return at;
}

const dims = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
/** A view that some slices and a permutation made. */
const strided = dims.chain((shape) => {
  const start = contiguousView("b", "f32", shape);
  return fc
    .tuple(
      fc.shuffledSubarray(
        shape.map((_, i) => i),
        { minLength: shape.length },
      ),
      fc.array(fc.tuple(fc.nat(shape.length - 1), fc.nat(3), fc.nat(3)), { maxLength: 2 }),
    )
    .map(([permutation, slices]) => {
      let view: View<string> = transposeView(start, permutation);
      for (const [axis, skip, keep] of slices) {
        const length = view.dims[axis] as number;
        const from = skip % length;
        view = sliceView(view, axis, from, 1 + (keep % (length - from)));
      }
      return view;
    });
});
/** A shape with the same number of elements. */
const factorings = (count: number): fc.Arbitrary<number[]> => {
  const divisors = Array.from({ length: count }, (_, i) => i + 1).filter((d) => count % d === 0);
  return fc.constantFrom(...divisors).chain((a) => {
    const rest = count / a;
    const inner = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => rest % d === 0);
    return fc.constantFrom(...inner).map((b) => [a, b, rest / b]);
  });
};

describe("views", () => {
  test.prop([strided.chain((v) => fc.tuple(fc.constant(v), factorings(positions(v).length)))])(
    "a reshape that needs no copy keeps the order of elements",
    ([view, shape]) => {
      const reshaped = reshapeView(view, shape);
      if (reshaped === undefined) expect(isContiguous(view)).toBe(false);
      else expect(positions(reshaped)).toEqual(positions(view));
    },
  );

  test.prop([strided])("rows of the last axis address the same elements", (view) => {
    const rows = rowsOf(view);
    if (rows === undefined) return;
    const at: number[] = [];
    for (let r = 0; r < (rows.rows as number); r++) {
      for (let c = 0; c < (rows.columns as number); c++) {
        at.push((view.offset as number) + r * (rows.rowStride as number) + c * (rows.columnStride as number));
      }
    }
    expect(at).toEqual(positions(view));
  });

  test.prop([strided])("merged axes address the same elements", (view) => {
    const merged = mergeAxes(view.dims, [view.strides]);
    const same = {
      ...view,
      dims: merged.dims as number[],
      strides: merged.strides[0]!,
    };
    expect(positions(same)).toEqual(positions(view));
    expect(isContiguous(view)).toBe(
      merged.dims.length === 0 || (merged.dims.length === 1 && merged.strides[0]![0] === 1),
    );
  });

  test("heads of a fused q|k|v projection are a view", () => {
    const fused = contiguousView("qkv", "f32", ["batch", "seq", 384]);
    const keys = reshapeView(sliceView(fused, 2, 256, 64), ["batch", "seq", 2, 32])!;
    expect(keys.offset).toBe(256);
    expect(keys.strides).toEqual([["mul", "seq", 384], 384, 32, 1]);
    expect(rowsOf(sliceView(fused, 2, 256, 64))).toEqual({
      rows: ["mul", "batch", "seq"],
      columns: 64,
      rowStride: 384,
      columnStride: 1,
    });
  });

  test("symbols may move within a reshape of contiguous elements", () => {
    const view = contiguousView("x", "f32", ["batch", 4, 8]);
    expect(reshapeView(view, [32, "batch"])?.strides).toEqual(["batch", 1]);
    expect(reshapeView(transposeView(view, [1, 0, 2]), [32, "batch"])).toBeUndefined();
  });

  test("the last row is a slice from the end", () => {
    const view = sliceView(contiguousView("x", "f32", ["batch", "seq", 8]), 1, -1, 1);
    expect(view.offset).toEqual(["add", ["mul", "seq", 8], -8]);
  });

  test("broadcast axes have stride 0", () => {
    expect(broadcastView(contiguousView("b", "f32", [8]), ["batch", 8]).strides).toEqual([0, 1]);
    expect(broadcastView(contiguousView("d", "f32", ["batch", 1]), ["batch", 8]).strides).toEqual([1, 0]);
  });
});
