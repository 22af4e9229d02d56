import { z } from "zod";
import type { Value } from "../graph.ts";
import { apply, arg, literal } from "../scalar.ts";
import { toFloat32 } from "../tensor.ts";
import { dense } from "../types.ts";
import { axisSchema, type Differentiated, type Gradient, type Op, resolveAxis } from "./define.ts";

const attributes = z.strictObject({
  /** The axis that is reduced; negative counts from the end. */
  axis: axisSchema,
  /** Leave the axis as 1 rather than drop it. */
  keep_dims: z.boolean(),
});

/** Reduces the elements `step` apart from `begin` on, `count` of them. */
type Reduce = (values: Float32Array, begin: number, step: number, count: number) => number;

type Attributes = z.output<typeof attributes>;

function reduction(summary: string, reduce: Reduce, gradient: Gradient<Attributes>): Op<typeof attributes> {
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
    gradient,
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

/** A reduced value with its axis back, as 1. */
function keepAxis(reduced: Value, { operands: [x], attributes: { axis }, emit }: Differentiated<Attributes>) {
  const { dims } = x!.type;
  return emit.one("reshape", [reduced], { dims: dims.with(axis, 1) });
}

const sumGradient: Gradient<Attributes> = (node) => {
  const { operands, gradients, emit } = node;
  const repeated = emit.one("broadcast", [keepAxis(gradients[0]!, node)], { dims: operands[0]!.type.dims });
  return [repeated];
};

const meanGradient: Gradient<Attributes> = (node) => {
  const { operands, attributes, gradients, emit } = node;
  const { axis } = attributes;
  const dim = operands[0]!.type.dims.at(axis)!;
  const count =
    typeof dim === "number"
      ? emit.one("constant", [], { value: dim, dtype: "f32" })
      : emit.one("axis_length", [operands[0]!], { axis });
  const share = emit.one("div", [keepAxis(gradients[0]!, node), count], {});
  return [emit.one("broadcast", [share], { dims: operands[0]!.type.dims })];
};

/** Shared evenly by the elements that are equal to the extreme. */
const extremeGradient: Gradient<Attributes> = (node) => {
  const { operands, results, attributes, gradients, emit } = node;
  const [x] = operands as [Value];
  const equal = apply("sub", literal(1), apply("abs", apply("sign", apply("sub", arg(0), arg(1)))));
  const chosen = emit.one("elementwise", [x, keepAxis(results[0]!, node)], { expr: equal });
  const count = emit.one("sum", [chosen], { ...attributes, keep_dims: true });
  const share = emit.one("div", [keepAxis(gradients[0]!, node), count], {});
  return [emit.one("mul", [chosen, share], {})];
};

export const sum = reduction("Sum over an axis.", sumOf, sumGradient);
export const mean = reduction(
  "Mean over an axis: the sum divided by the axis length.",
  (values, begin, step, count) => sumOf(values, begin, step, count) / count,
  meanGradient,
);
export const maxReduce = reduction(
  "Largest element along an axis, NaN if any is.",
  fold(Math.max),
  extremeGradient,
);
export const minReduce = reduction(
  "Smallest element along an axis, NaN if any is.",
  fold(Math.min),
  extremeGradient,
);
