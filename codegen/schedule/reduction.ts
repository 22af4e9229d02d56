import * as b from "../kernel/build.ts";
import type { Expr, KernelFunction, Stmt } from "../kernel/ir.ts";
import { bufferArgument, type GeneratedCall, i32Argument, type Place } from "./draft.ts";
import { LANES, type LoopNest, loopNest, type Position } from "./loop-nest.ts";
import type { Width } from "./scalar-code.ts";

export type Reduction = "sum" | "mean" | "max" | "min";

const combiner = { sum: "add", mean: "add", max: "max", min: "min" } as const;
const identity = { sum: 0, mean: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY } as const;

/** Positions of x's and out's elements without the reduced axis; `out` may keep it with length 1. */
function outer(x: Place, axis: number, out: Place) {
  const without = <T>(list: readonly T[]) => list.filter((_, i) => i !== axis);
  const keeps = out.dims.length === x.dims.length;
  return loopNest(without(x.dims), [without(x.strides), keeps ? without(out.strides) : out.strides]);
}

/**
 * out = the sum, mean (sum / length), maximum or minimum of f32 x along one axis. `out` has x's dims without
 * the axis, or with length 1 there. Sums keep four partial sums along a contiguous axis, added up in order.
 */
export function reductionCall(kind: Reduction, x: Place, axis: number, out: Place): GeneratedCall {
  const nest = outer(x, axis, out);
  const along = x.strides[axis]!;
  const unit = along === 1;
  return {
    key: `reduction:${kind}:${unit ? "unit" : "strided"}:${nest.pattern}`,
    name: `reduce_${kind}`,
    template: "reduction",
    build: (name) => reductionKernel(name, kind, unit, nest),
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

function reductionKernel(name: string, kind: Reduction, unit: boolean, nest: LoopNest): KernelFunction {
  const from = b.buffer("x", "f32");
  const to = b.buffer("out", "f32", "write");
  const length = b.scalar("length");
  const stride = b.scalar("stride");
  const splat = (value: Expr) => b.intrinsic("f32x4.splat", [value]);
  const start = b.f32(identity[kind]);

  const combine = (a: Expr, value: Expr, width: Width): Expr => {
    const fn = combiner[kind];
    if (width === "vector") return b.intrinsic(`f32x4.${fn}`, [a, value]);
    return fn === "add" ? b.add(a, value) : b.intrinsic(`math.${fn}`, [a, value]);
  };
  const finish = (total: Expr, width: Width): Expr => {
    if (kind !== "mean") return total;
    const count = b.convert("f32", b.ref(length));
    return width === "vector" ? b.intrinsic("f32x4.div", [total, splat(count)]) : b.div(total, count);
  };

  /** Four outputs side by side, or one output element by element. */
  const stepwise = (at: Position): Stmt[] => {
    const p = at.prefix;
    const vector = at.width === "vector";
    const total = b.local(`${p}total`, vector ? "v128" : "f32");
    const index = b.add(b.local(`${p}from`, "i32"), b.mul(b.local(`${p}k`, "i32"), b.ref(stride)));
    const loaded = at.repeats(0) ? "v128.load32Splat" : "v128.load";
    const value = vector ? b.intrinsic(loaded, [index], { buffer: from }) : b.load(from, index);
    const result = finish(total, at.width);
    return [
      b.let_(`${p}from`, at.index(0)),
      b.var_(`${p}total`, vector ? splat(start) : start),
      b.forRange(`${p}k`, b.i32(0), b.ref(length), [b.assign(`${p}total`, combine(total, value, at.width))]),
      vector
        ? b.effect(b.intrinsic("v128.store", [at.index(1), result], { buffer: to }))
        : b.store(to, at.index(1), result),
    ];
  };

  /** One output, four elements at a time. */
  const lanewise = (at: Position): Stmt[] => {
    const lanes = b.local("lanes", "v128");
    const total = b.local("total", "f32");
    const base = b.local("from", "i32");
    const whole = b.local("wholeLength", "i32");
    const four = b.intrinsic("v128.load", [b.add(base, b.local("k4", "i32"))], { buffer: from });
    const one = b.load(from, b.add(base, b.local("k", "i32")));
    const lane = (i: number) => b.intrinsic("f32x4.extractLane", [lanes], { immediates: [i] });
    return [
      b.let_("from", at.index(0)),
      b.let_("wholeLength", b.binary("and", b.ref(length), b.i32(-LANES))),
      b.var_("lanes", splat(start)),
      b.forRange("k4", b.i32(0), whole, [b.assign("lanes", combine(lanes, four, "vector"))], LANES),
      b.var_(
        "total",
        [1, 2, 3].reduce((left, i) => combine(left, lane(i), "scalar"), lane(0)),
      ),
      b.forRange("k", whole, b.ref(length), [b.assign("total", combine(total, one, "scalar"))]),
      b.store(to, at.index(1), finish(total, "scalar")),
    ];
  };

  const body = nest.emit((at) => {
    if (!unit) return stepwise(at);
    return at.width === "vector" ? undefined : lanewise(at);
  });
  return b.kernel(
    name,
    [from, to, length, stride, ...nest.parameters, b.scalar("begin"), b.scalar("end")],
    body,
  );
}
