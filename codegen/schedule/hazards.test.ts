import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { parseGraph } from "../../ir/text/parse.ts";
import { type TouchingStep, waits } from "./hazards.ts";
import { schedule } from "./schedule.ts";

const touch = fc
  .record({
    region: fc.constantFrom("arena" as const, "state" as const),
    start: fc.nat(12),
    bytes: fc.integer({ min: 1, max: 6 }),
    writes: fc.boolean(),
  })
  .map(({ bytes, ...rest }) => ({ ...rest, end: rest.start + bytes }));
const step: fc.Arbitrary<TouchingStep> = fc.record({
  touches: fc.array(touch, { maxLength: 3 }),
  isGuarded: fc.boolean(),
  serves: fc.option(fc.subarray(["a", "b"]), { nil: undefined }),
});

/** Whether a step runs in a call that asks for these outputs, its guard's value given. */
const runs = ({ isGuarded, serves }: TouchingStep, asked: readonly string[], guard: boolean) =>
  (!isGuarded || guard) && (serves === undefined || serves.some((output) => asked.includes(output)));

/** Byte by byte: what one writes the other touches. */
function interfere(a: TouchingStep, b: TouchingStep): boolean {
  const bytes = ({ touches }: TouchingStep, onlyWritten: boolean) =>
    new Set(
      touches
        .filter(({ writes }) => writes || !onlyWritten)
        .flatMap(({ region, start, end }) =>
          Array.from({ length: end - start }, (_, i) => `${region} ${start + i}`),
        ),
    );
  const meet = (written: TouchingStep, touched: TouchingStep) =>
    [...bytes(written, true)].some((byte) => bytes(touched, false).has(byte));
  return meet(a, b) || meet(b, a);
}

describe("steps wait", () => {
  test.prop([fc.array(step, { maxLength: 12 }), fc.subarray(["a", "b"]), fc.infiniteStream(fc.boolean())])(
    "so that none runs beside one that it interferes with, in any call",
    (steps, asked, guards) => {
      const found = waits(steps);
      let running: TouchingStep[] = [];
      steps.forEach((step, i) => {
        if (!runs(step, asked, guards.next().value!)) return;
        if (found[i]) running = [];
        expect(running.some((before) => interfere(before, step))).toBe(false);
        running.push(step);
      });
    },
  );

  test.prop([fc.array(step, { maxLength: 12 })])("only for one that interferes", (steps) => {
    const certain = steps.map((step) => ({ ...step, isGuarded: false, serves: undefined }));
    const found = waits(certain);
    found.forEach((wait, i) => {
      const since = certain.slice(Math.max(0, found.slice(0, i).lastIndexOf(true)), i);
      expect(wait).toBe(since.some((before) => interfere(before, certain[i]!)));
    });
  });

  test("for what they read, on memory that temporaries share too", async () => {
    const graph = parseGraph(`graph @g(batch <= 4) {
      %x: input f32[batch, 8]
      %a: f32[batch, 8] = softmax(%x)
      %b: f32[batch, 8] = neg(%x)
      %c: f32[batch, 8] = add(%a, %b)
      %d: f32[batch, 8] = exp(%c)
      %e: f32[batch, 8] = mul(%d, %x)
      return e = %e
    }`);
    const plan = await schedule({ run: graph }, { targets: ["wasm"], maxThreads: 2 });
    const { plans, summaries } = plan.targets.wasm!;
    expect(plans.run!.map(({ label }, i) => [label, summaries.run!.waits[i]])).toEqual([
      ["softmax %a", false],
      ["neg %b", false],
      ["add %c", true],
      ["exp %d", true],
      ["mul %e", true],
    ]);
  });
});
