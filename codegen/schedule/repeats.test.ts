import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { repeats } from "./repeats.ts";

describe("repeats", () => {
  test("finds layers between what comes before and after", () => {
    expect(repeats([..."e", ..."qmqma".repeat(3), ..."nh"])).toEqual([
      { start: 0, period: 1, times: 1 },
      { start: 1, period: 5, times: 3 },
      { start: 16, period: 2, times: 1 },
    ]);
  });

  test.prop([fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 40 })])(
    "cover every item once, and what is called a repetition is one",
    (keys) => {
      let at = 0;
      for (const { start, period, times } of repeats(keys)) {
        expect(start).toBe(at);
        expect(period * times).toBeGreaterThan(0);
        const first = keys.slice(start, start + period);
        expect(keys.slice(start, start + period * times)).toEqual(Array(times).fill(first).flat());
        at += period * times;
      }
      expect(at).toBe(keys.length);
    },
  );
});
