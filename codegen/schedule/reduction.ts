import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place } from "./draft.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import { type LoopNest, loopNest, type Position } from "./loop-nest.ts";

export type Reduction = "sum" | "mean" | "max" | "min";

const combiner = { sum: "add", mean: "add", max: "max", min: "min" } as const;
const identity = { sum: 0, mean: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY } as const;

/** Positions of the operands' and out's elements without the reduced axis; `out` may keep it with length 1. */
function outer(factors: readonly Place[], axis: number, out: Place, target: TargetCode) {
  const without = <T>(list: readonly T[]) => list.filter((_, i) => i !== axis);
  const { dims } = factors[0]!;
  const keeps = out.dims.length === dims.length;
  const strides = [...factors.map((x) => without(x.strides)), keeps ? without(out.strides) : out.strides];
  return loopNest(without(dims), strides, target);
}

/**
 * out = the sum, mean (sum / length), maximum or minimum along one axis of f32 x, or of the product of several tensors of
 * one shape. `out` has x's dims without the axis, or with length 1 there. Sums keep a partial sum a lane along a
 * contiguous axis, added up in order.
 */
export function reductionCall(
  kind: Reduction,
  factors: readonly Place[],
  axis: number,
  out: Place,
  target: TargetCode,
): GeneratedCall {
  const nest = outer(factors, axis, out, target);
  const along = factors.map(({ strides }) => strides[axis]!);
  const unit = along.every((stride) => stride === 1) && target.many !== undefined;
  const product = factors.length > 1 ? ["product"] : [];
  return {
    key: ["reduction", kind, ...product, unit ? "unit" : "strided", nest.pattern].join(":"),
    name: ["reduce", kind, ...product].join("_"),
    template: "reduction",
    build: (name) => reductionKernel(name, kind, factors.length, nest, target, unit),
    arguments: [
      ...factors.map(bufferArgument),
      bufferArgument(out),
      i32Argument(factors[0]!.dims[axis]!),
      ...along.map(i32Argument),
      ...nest.values.map(i32Argument),
    ],
    range: nest.range,
  };
}

function reductionKernel(
  name: string,
  kind: Reduction,
  count: number,
  nest: LoopNest,
  { one, many }: TargetCode,
  unit: boolean,
): KernelFunction {
  const suffixes = Array.from({ length: count }, (_, i) => (i === 0 ? "" : String(i)));
  const factors = suffixes.map((suffix) => b.buffer(`x${suffix}`, "f32"));
  const to = b.buffer("out", "f32", "write");
  const length = b.scalar("length");
  const strides = suffixes.map((suffix) => b.scalar(`stride${suffix}`));
  const start = b.f32(identity[kind]);

  const combine = (a: Expr, value: Expr, lanes: Lanes): Expr => lanes.apply(combiner[kind], [a, value]);
  const finish = (total: Expr, lanes: Lanes): Expr => {
    if (kind !== "mean") return total;
    return lanes.apply("div", [total, lanes.splat(b.convert("f32", b.ref(length)))]);
  };

  const product = (values: readonly Expr[], lanes: Lanes): Expr =>
    values.reduce((left, value) => lanes.apply("mul", [left, value]));

  /** Outputs side by side, one in each lane, each element by element. */
  const stepwise = (at: Position): Stmt[] => {
    const { prefix: p, lanes } = at;
    const total = b.local(`${p}total`, lanes.type("f32"));
    const values = factors.map((from, i) => {
      const step = b.mul(b.local(`${p}k`, "i32"), b.ref(strides[i]!));
      return lanes.load(from, b.add(b.local(`${p}from${suffixes[i]}`, "i32"), step), at.repeats(i));
    });
    const value = product(values, lanes);
    return [
      ...suffixes.map((suffix, i) => b.let_(`${p}from${suffix}`, at.index(i))),
      b.var_(`${p}total`, lanes.splat(start)),
      b.forRange(`${p}k`, b.i32(0), b.ref(length), [b.assign(`${p}total`, combine(total, value, lanes))]),
      lanes.store(to, at.index(count), finish(total, lanes)),
    ];
  };

  /** One output, as many elements at a time as there are lanes. */
  const lanewise = (at: Position, wide: Lanes): Stmt[] => {
    const partial = b.local("lanes", wide.type("f32"));
    const total = b.local("total", "f32");
    const bases = suffixes.map((suffix) => b.local(`from${suffix}`, "i32"));
    const whole = b.local("wholeLength", "i32");
    const valuesAt = (k: string, lanes: Lanes) =>
      factors.map((from, i) => lanes.load(from, b.add(bases[i]!, b.local(k, "i32")), false));
    const next = product(valuesAt("k4", wide), wide);
    const rest = product(valuesAt("k", one), one);
    const parts = Array.from({ length: wide.count }, (_, i) => wide.lane(partial, i));
    return [
      ...suffixes.map((suffix, i) => b.let_(`from${suffix}`, at.index(i))),
      b.let_("wholeLength", b.binary("and", b.ref(length), b.i32(-wide.count))),
      b.var_("lanes", wide.splat(start)),
      b.forRange("k4", b.i32(0), whole, [b.assign("lanes", combine(partial, next, wide))], wide.count),
      b.var_(
        "total",
        parts.reduce((left, part) => combine(left, part, one)),
      ),
      b.forRange("k", whole, b.ref(length), [b.assign("total", combine(total, rest, one))]),
      one.store(to, at.index(count), finish(total, one)),
    ];
  };

  const body = nest.emit((at) => {
    if (!unit || many === undefined) return stepwise(at);
    return at.lanes.count > 1 ? undefined : lanewise(at, many);
  });
  return b.kernel(
    name,
    [...factors, to, length, ...strides, ...nest.parameters, b.scalar("begin"), b.scalar("end")],
    body,
  );
}
