import { expect, test } from "vitest";
import { lossChart } from "./loss-chart.ts";

const numbersOf = (svg: string, pattern: RegExp) =>
  [...svg.matchAll(pattern)].map(([, text]) => text!.split(" ").map((point) => point.split(",").map(Number)));
const polylines = (svg: string) => numbersOf(svg, /<polyline points="([^"]*)"/g);

test("each run has a line, points and a name", () => {
  const falling = Array.from({ length: 100 }, (_, i) => 5 - i / 25);
  const svg = lossChart("two runs", [
    { name: "a & b", losses: falling, evaluations: [{ step: 50, loss: 3 }] },
    { name: "c", losses: falling.slice(0, 50), evaluations: [{ step: 0, loss: 5 }] },
  ]);
  expect(svg).toContain("two runs: cross-entropy");
  expect(svg).toContain("● a &amp; b");
  expect(svg).toContain("<title>a &amp; b, step 50: 3.0000, perplexity 20.09</title>");
  const [long, , short] = polylines(svg);
  expect([long!.length, short!.length]).toEqual([100, 50]);
  expect(long!.slice(0, 50)).toEqual(short);
  for (const [i, [x, y]] of long!.entries()) {
    if (i > 0) expect([x! > long![i - 1]![0]!, y! > long![i - 1]![1]!]).toEqual([true, true]);
  }
});

test("a long run is drawn by means, within the picture, and one of a single step too", () => {
  const losses = Array.from({ length: 100_001 }, (_, i) => 2 + (i % 2) - 0.5);
  const [line] = polylines(lossChart("long", [{ name: "run", losses, evaluations: [] }]));
  expect(line!.length).toBeLessThanOrEqual(400);
  for (const [x, y] of line!) expect([x! > 50 && x! < 710, y! > 40 && y! < 330]).toEqual([true, true]);
  expect(lossChart("one", [{ name: "run", losses: [1], evaluations: [{ step: 1, loss: 0 }] }])).not.toMatch(
    /NaN|Infinity/,
  );
});
