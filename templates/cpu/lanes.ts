import {
  type f32,
  f32x4,
  type i32,
  i32x4,
  type Registers,
  registers,
  shuffle,
  unroll,
  type v128,
} from "bitloom/kernel";

/** Lanes [sum a, sum b, sum c, sum d] of four i32x4 vectors, modulo 2^32. */
export function sumI32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(
    shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  const cd = i32x4.add(
    shuffle(c, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    shuffle(c, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  return i32x4.add(
    shuffle(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
    shuffle(ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
  );
}

/** Lanes [sum a, sum b, sum c, sum d] of four f32x4 vectors, each summed as (0 + 2) + (1 + 3). */
export function sumF32x4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(
    shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  const cd = f32x4.add(
    shuffle(c, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    shuffle(c, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
  );
  return f32x4.add(
    shuffle(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
    shuffle(ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
  );
}

/** The sum of the lanes. */
export function laneSumI32(x: v128): i32 {
  return i32x4.extractLane(sumI32x4(x, x, x, x), 0);
}

/** The sum of the lanes as (0 + 2) + (1 + 3). */
export function laneSumF32(x: v128): f32 {
  return f32x4.extractLane(sumF32x4(x, x, x, x), 0);
}

/** The largest lane as signed integers. */
export function laneMaxI32(x: v128): i32 {
  const pair = i32x4.maxS(x, shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const all = i32x4.maxS(pair, shuffle(pair, pair, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  return i32x4.extractLane(all, 0);
}

/** The largest lane; NaN if any lane is NaN. */
export function laneMaxF32(x: v128): f32 {
  const pair = f32x4.max(x, shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const all = f32x4.max(pair, shuffle(pair, pair, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  return f32x4.extractLane(all, 0);
}

/** Lanes [a0, a1, b0, b1]. */
export function lowHalves(a: v128, b: v128): v128 {
  return shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

/** Lanes [a2, a3, b2, b3]. */
export function highHalves(a: v128, b: v128): v128 {
  return shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

/** Four rows of four 32-bit lanes, which become four columns. */
export function transpose(x: Registers<v128>): void {
  const pairs = registers(4, x[0]!);
  for (const half of unroll(2)) {
    const even = x[2 * half]!;
    const odd = x[2 * half + 1]!;
    pairs[half] = shuffle(even, odd, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    pairs[2 + half] = shuffle(even, odd, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  }
  for (const half of unroll(2)) {
    x[2 * half] = lowHalves(pairs[2 * half]!, pairs[2 * half + 1]!);
    x[2 * half + 1] = highHalves(pairs[2 * half]!, pairs[2 * half + 1]!);
  }
}
