import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { TENSOR_ALIGNMENT } from "../../runtime/manifest.ts";
import { align, type Lifetime, planArena, planBuffers } from "./memory.ts";

const lifetimes = fc.array(
  fc
    .record({ bytes: fc.integer({ min: 1, max: 5000 }), first: fc.nat(40), length: fc.nat(12) })
    .map(({ bytes, first, length }): Lifetime => ({ bytes, first, last: first + length })),
  { maxLength: 60 },
);

/** The most bytes alive at one step: no plan can be smaller. */
function peak(all: readonly Lifetime[]): number {
  const steps = all.map((life) => life.last);
  const alive = (step: number) => all.filter((life) => life.first <= step && step <= life.last);
  return Math.max(0, ...steps.map((step) => alive(step).reduce((sum, life) => sum + align(life.bytes), 0)));
}

describe("planArena", () => {
  test.prop([lifetimes])("no two live buffers overlap, all are aligned and inside", (all) => {
    const { offsets, bytes } = planArena(all);
    all.forEach((a, i) => {
      const start = offsets[i]!;
      expect(start % TENSOR_ALIGNMENT).toBe(0);
      expect(start + a.bytes).toBeLessThanOrEqual(bytes);
      for (let j = 0; j < i; j++) {
        const b = all[j]!;
        if (a.last < b.first || b.last < a.first) continue;
        const disjoint = start + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= start;
        expect(disjoint, `buffers ${j} and ${i}`).toBe(true);
      }
    });
  });

  test.prop([lifetimes])("never uses more than all buffers side by side, nor less than the peak", (all) => {
    const { bytes } = planArena(all);
    expect(bytes).toBeGreaterThanOrEqual(peak(all));
    expect(bytes).toBeLessThanOrEqual(all.reduce((sum, life) => sum + align(life.bytes), 0));
  });

  test("a chain of equal buffers takes two places", () => {
    const chain = Array.from({ length: 30 }, (_, i) => ({ bytes: 1000, first: i, last: i + 1 }));
    expect(planArena(chain).bytes).toBe(2 * 1024);
  });
});

describe("planBuffers", () => {
  test.prop([lifetimes])("gives each life a whole buffer, and none to two at once", (all) => {
    const { offsets, bytes, starts } = planBuffers(all);
    expect(starts).toEqual([...new Set(starts)].sort((a, b) => a - b));
    all.forEach((a, i) => {
      const buffer = starts.indexOf(offsets[i]!);
      expect(buffer).toBeGreaterThanOrEqual(0);
      expect(offsets[i]! % TENSOR_ALIGNMENT).toBe(0);
      expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(starts[buffer + 1] ?? bytes);
      for (let j = 0; j < i; j++) {
        const b = all[j]!;
        const together = a.first <= b.last && b.first <= a.last;
        if (together) expect(offsets[j]).not.toBe(offsets[i]);
      }
    });
  });
});
