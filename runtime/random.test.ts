import { expect, it } from "vitest";
import { Random } from "./random.ts";

it("gives the published sequence of xoshiro128**", () => {
  const random = new Random(Uint32Array.of(1, 2, 3, 4));
  expect(Array.from({ length: 10 }, () => random.next())).toEqual([
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
  ]);
});

it("is uniform enough to sample by, and the same for the same seed", () => {
  const random = Random.fromSeed(7);
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) buckets[Math.floor(random.uniform() * 10)]!++;
  for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  const draw = (seed: number) =>
    Array.from(
      { length: 5 },
      (
        (r) => () =>
          r.next()
      )(Random.fromSeed(seed)),
    );
  expect(draw(0)).toEqual(draw(0));
  expect(draw(0)).not.toEqual(draw(1));
  expect(draw(-1)).toEqual(draw(2 ** 32 - 1));
});
