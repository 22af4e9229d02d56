import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place } from "./draft.ts";
import type { Lanes, TargetCode } from "./lanes.ts";
import { type LoopNest, loopNest, type Position } from "./loop-nest.ts";

export type Reduction = "sum" | "mean" | "max" | "min";

const combiner = { sum: "add", mean: "add", max: "max", min: "min" } as const;
const identity = { sum: 0, mean: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY } as const;

/** Positions of x's and out's elements without the reduced axis; `out` may keep it with length 1. */
function outer(x: Place, axis: number, out: Place, target: TargetCode) {
  const without = <T>(list: readonly T[]) => list.filter((_, i) => i !== axis);
  const keeps = out.dims.length === x.dims.length;
  const strides = [without(x.strides), keeps ? without(out.strides) : out.strides];
  return loopNest(without(x.dims), strides, target);
}

/**
 * out = the sum, mean (sum / length), maximum or minimum of f32 x along one axis. `out` has x's dims without
 * the axis, or with length 1 there. Sums keep a partial sum a lane along a contiguous axis, added up in order.
 */
export function reductionCall(
  kind: Reduction,
  x: Place,
  axis: number,
  out: Place,
  target: TargetCode,
): GeneratedCall {
  const nest = outer(x, axis, out, target);
  const along = x.strides[axis]!;
  const unit = along === 1 && target.many !== undefined;
  return {
    key: `reduction:${kind}:${unit ? "unit" : "strided"}:${nest.pattern}`,
    name: `reduce_${kind}`,
    template: "reduction",
    build: (name) => reductionKernel(name, kind, nest, target, unit),
    arguments: [
      bufferArgument(x),
      bufferArgument(out),
      i32Argument(x.dims[axis]!),
      i32Argument(along),
      ...nest.values.map(i32Argument),
    ],
    range: nest.range,
  };
}

function reductionKernel(
  name: string,
  kind: Reduction,
  nest: LoopNest,
  { one, many }: TargetCode,
  unit: boolean,
): KernelFunction {
  const from = b.buffer("x", "f32");
  const to = b.buffer("out", "f32", "write");
  const length = b.scalar("length");
  const stride = b.scalar("stride");
  const start = b.f32(identity[kind]);

  const combine = (a: Expr, value: Expr, lanes: Lanes): Expr => lanes.apply(combiner[kind], [a, value]);
  const finish = (total: Expr, lanes: Lanes): Expr => {
    if (kind !== "mean") return total;
    return lanes.apply("div", [total, lanes.splat(b.convert("f32", b.ref(length)))]);
  };

  /** Outputs side by side, one in each lane, each element by element. */
  const stepwise = (at: Position): Stmt[] => {
    const { prefix: p, lanes } = at;
    const total = b.local(`${p}total`, lanes.type("f32"));
    const index = b.add(b.local(`${p}from`, "i32"), b.mul(b.local(`${p}k`, "i32"), b.ref(stride)));
    const value = lanes.load(from, index, at.repeats(0));
    return [
      b.let_(`${p}from`, at.index(0)),
      b.var_(`${p}total`, lanes.splat(start)),
      b.forRange(`${p}k`, b.i32(0), b.ref(length), [b.assign(`${p}total`, combine(total, value, lanes))]),
      lanes.store(to, at.index(1), finish(total, lanes)),
    ];
  };

  /** One output, as many elements at a time as there are lanes. */
  const lanewise = (at: Position, wide: Lanes): Stmt[] => {
    const partial = b.local("lanes", wide.type("f32"));
    const total = b.local("total", "f32");
    const base = b.local("from", "i32");
    const whole = b.local("wholeLength", "i32");
    const next = wide.load(from, b.add(base, b.local("k4", "i32")), false);
    const rest = one.load(from, b.add(base, b.local("k", "i32")), false);
    const parts = Array.from({ length: wide.count }, (_, i) => wide.lane(partial, i));
    return [
      b.let_("from", at.index(0)),
      b.let_("wholeLength", b.binary("and", b.ref(length), b.i32(-wide.count))),
      b.var_("lanes", wide.splat(start)),
      b.forRange("k4", b.i32(0), whole, [b.assign("lanes", combine(partial, next, wide))], wide.count),
      b.var_(
        "total",
        parts.reduce((left, part) => combine(left, part, one)),
      ),
      b.forRange("k", whole, b.ref(length), [b.assign("total", combine(total, rest, one))]),
      one.store(to, at.index(1), finish(total, one)),
    ];
  };

  const body = nest.emit((at) => {
    if (!unit || many === undefined) return stepwise(at);
    return at.lanes.count > 1 ? undefined : lanewise(at, many);
  });
  return b.kernel(
    name,
    [from, to, length, stride, ...nest.parameters, b.scalar("begin"), b.scalar("end")],
    body,
  );
}
