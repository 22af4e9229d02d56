import * as b from "../../kernel/build.ts";
import type { Lanes, MathHelpers } from "../lanes.ts";

/** Four neighbouring elements in a v128. */
export function vectorLanes(math: MathHelpers): Lanes {
  return {
    count: 4,
    math,
    type: () => "v128",
    splat: (value) => b.intrinsic("f32x4.splat", [value]),
    load: (from, index, repeats) =>
      b.intrinsic(repeats ? "v128.load32Splat" : "v128.load", [index], { buffer: from }),
    store: (to, index, value) => b.effect(b.intrinsic("v128.store", [index, value], { buffer: to })),
    apply: (fn, args) => b.intrinsic(`f32x4.${fn}`, args),
    applyToIntegers: (fn, x, y) =>
      b.intrinsic(`i32x4.${fn === "max" || fn === "min" ? `${fn}S` : fn}`, [x, y]),
    toF32: (value) => b.intrinsic("f32x4.convertI32x4S", [value]),
    toI32: (value) => b.intrinsic("i32x4.truncSatF32x4S", [value]),
    lane: (value, lane) => b.intrinsic("f32x4.extractLane", [value], { immediates: [lane] }),
  };
}
