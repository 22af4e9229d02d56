import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { CudaSession, Launch } from "../../runtime/devices/cuda/addon.ts";
import { timeLaunches } from "./time-launches.ts";

const launch: Launch = { kernel: 0, grid: [1, 1], arguments: [] };

/** A card on which a call takes 2 ms and a launch so many microseconds; what it still keeps. */
function clockwork(microseconds: number) {
  const programs = new Map<number, number>();
  let next = 0;
  let most = 0;
  const session = {
    addProgram(launches: readonly Launch[]) {
      programs.set(next, launches.length);
      most = Math.max(most, launches.length);
      return next++;
    },
    removeProgram: (program: number) => programs.delete(program),
    async run(program: number) {
      vi.advanceTimersByTime(2 + (programs.get(program)! * microseconds) / 1000);
      return [];
    },
  } as unknown as CudaSession;
  return { session, programs, most: () => most };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it.each([
  [1, 2000],
  [7, 1000],
  [300, 4000],
])("%i launches of %i µs: what a call costs beside them is not theirs", async (count, microseconds) => {
  const { session, programs, most } = clockwork(microseconds);
  const rotation = Array.from({ length: count }, () => launch);
  const effort = { leastMs: 50, pairs: 3 };
  expect(await timeLaunches(session, rotation, effort)).toBeCloseTo(microseconds, 6);
  expect(programs.size).toBe(0);
  expect(most()).toBeLessThanOrEqual(4000);
});
