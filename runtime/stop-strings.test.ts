import { fc, it as property } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { StopStrings } from "./stop-strings.ts";

const ab = fc.string({ unit: fc.constantFrom("a", "b", "c") });

describe("StopStrings", () => {
  property.prop(
    [
      fc.array(ab),
      fc.array(
        ab.filter((text) => text !== ""),
        { maxLength: 3 },
      ),
    ],
    { numRuns: 500 },
  )("passes the text up to the first stop, however it is cut", (pieces, stops) => {
    const text = pieces.join("");
    const filter = new StopStrings(stops);
    let passed = "";
    for (const piece of pieces) {
      passed += filter.push(piece);
      // What is shown can never have to be taken back.
      expect(text.startsWith(passed)).toBe(true);
      for (const stop of stops) expect(passed.includes(stop)).toBe(false);
    }
    const stopped = filter.stopped;
    passed += filter.flush();
    // The first stop to be complete ends the text, as it does for a reader of the stream.
    const ends = pieces.map((_, index) => pieces.slice(0, index + 1).join(""));
    const seen = ends.find((prefix) => stops.some((stop) => prefix.includes(stop)));
    expect(stopped).toBe(seen !== undefined);
    const cut = Math.min(...stops.map((stop) => seen?.indexOf(stop) ?? -1).filter((index) => index >= 0));
    expect(passed).toBe(seen === undefined ? text : seen.slice(0, cut));
  });

  it("holds back no more than may be a stop", () => {
    const filter = new StopStrings(["\nUser:"]);
    expect(filter.push("Hello\nUs")).toBe("Hello");
    expect(filter.push("ual")).toBe("\nUsual");
    expect(filter.push("\nUser: hi")).toBe("");
    expect(filter.stopped).toBe(true);
    expect(filter.push("more")).toBe("");
  });
});
