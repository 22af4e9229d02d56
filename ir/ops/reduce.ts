import { z } from "zod";
import { toFloat32 } from "../tensor.ts";
import { dense } from "../types.ts";
import { axisSchema, type Op, resolveAxis } from "./define.ts";

const attributes = z.strictObject({
  /** The axis that is reduced; negative counts from the end. */
  axis: axisSchema,
  /** Leave the axis as 1 rather than drop it. */
  keep_dims: z.boolean(),
});

/** Reduces the elements `step` apart from `begin` on, `count` of them. */
type Reduce = (values: Float32Array, begin: number, step: number, count: number) => number;

function reduction(summary: string, reduce: Reduce): Op<typeof attributes> {
  return {
    summary,
    operands: ["x"],
    attributes,
    infer([x], { axis, keep_dims }, site) {
      site.requireDense(0, "f32");
      const resolved = resolveAxis(axis, x!.dims.length, site);
      return [dense("f32", x!.dims.toSpliced(resolved, 1, ...(keep_dims ? [1] : [])))];
    },
    evaluate([x], { axis }, [type]) {
      const { dims } = x!.type;
      const resolved = axis < 0 ? axis + dims.length : axis;
      const count = dims[resolved]!;
      const inner = dims.slice(resolved + 1).reduce((product, dim) => product * dim, 1);
      const values = toFloat32(x!);
      const data = new Float32Array(values.length / count);
      for (let i = 0; i < data.length; i++) {
        const begin = Math.floor(i / inner) * count * inner + (i % inner);
        data[i] = reduce(values, begin, inner, count);
      }
      return [{ type: type!, data }];
    },
    gradient: "none yet",
  };
}

/** In f64, ascending, rounded once: any f32 order lies within the contract's tolerance of it. */
const sumOf: Reduce = (values, begin, step, count) => {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[begin + i * step]!;
  return Math.fround(sum);
};

function fold(choose: (a: number, b: number) => number): Reduce {
  return (values, begin, step, count) => {
    let result = values[begin]!;
    for (let i = 1; i < count; i++) result = choose(result, values[begin + i * step]!);
    return result;
  };
}

export const sum = reduction("Sum over an axis.", sumOf);
export const mean = reduction(
  "Mean over an axis: the sum divided by the axis length.",
  (values, begin, step, count) => sumOf(values, begin, step, count) / count,
);
export const maxReduce = reduction("Largest element along an axis, NaN if any is.", fold(Math.max));
export const minReduce = reduction("Smallest element along an axis, NaN if any is.", fold(Math.min));
