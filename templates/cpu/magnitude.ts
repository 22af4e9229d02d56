import { type Buffer, type f32, type i32, i32x4, registers, unroll, v128 } from "bitloom/kernel";
import { laneMaxI32 } from "./lanes.ts";

/** max(bits(x) & 0x7fffffff) over `count` elements from `start` on: exact, free of order, NaN above all. */
export function largestMagnitude(x: Buffer<f32>, start: i32, count: i32): i32 {
  const mask = i32x4.splat(0x7fffffff);
  const largest = registers(4, i32x4.splat(0));
  const whole = count & -16;
  for (let i: i32 = 0; i < whole; i += 16) {
    for (const u of unroll(4)) {
      largest[u] = i32x4.maxS(largest[u]!, v128.and(v128.load(x, start + i + 4 * u), mask));
    }
  }
  for (let i = whole; i < count; i++) {
    largest[0] = i32x4.maxS(largest[0]!, v128.and(v128.load32Zero(x, start + i), mask));
  }
  return laneMaxI32(i32x4.maxS(i32x4.maxS(largest[0]!, largest[1]!), i32x4.maxS(largest[2]!, largest[3]!)));
}
