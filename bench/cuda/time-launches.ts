import type { CudaSession, Launch } from "../../runtime/devices/cuda/addon.ts";

/** How long to measure for. */
export interface Effort {
  /** Milliseconds that the shorter program takes at least. */
  readonly leastMs: number;
  /** Pairs of programs, of which the median is taken. */
  readonly pairs: number;
}

/** Launches of one graph, so that the driver need not make graphs of any size. */
const MAX_LAUNCHES = 4000;

/**
 * Microseconds that one of these launches takes, the gap before the next one included. Two graphs, one with twice as
 * many launches as the other, are replayed by turns: what a call costs beside its launches is in both, and drops out
 * of their difference.
 */
export async function timeLaunches(
  session: CudaSession,
  rotation: readonly Launch[],
  { leastMs, pairs }: Effort,
): Promise<number> {
  const most = Math.max(1, Math.floor(MAX_LAUNCHES / 2 / rotation.length));
  const once = await withProgram(session, repeated(rotation, 1), (replay) => least(replay, 3));
  const times = Math.min(most, Math.max(1, Math.ceil(leastMs / once)));
  return withProgram(session, repeated(rotation, times), (short) =>
    withProgram(session, repeated(rotation, 2 * times), async (long) => {
      const differences: number[] = [];
      for (let i = 0; i < pairs; i++) {
        const first = await short();
        differences.push((await long()) - first);
      }
      return (median(differences) * 1000) / (times * rotation.length);
    }),
  );
}

const repeated = (launches: readonly Launch[], times: number): Launch[] =>
  Array.from({ length: times }, () => launches).flat();

async function least(action: () => Promise<number>, runs: number): Promise<number> {
  let smallest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) smallest = Math.min(smallest, await action());
  return smallest;
}

/** Gives the replay of a program, which takes the milliseconds that it returns. */
async function withProgram<T>(
  session: CudaSession,
  launches: readonly Launch[],
  use: (replay: () => Promise<number>) => Promise<T>,
): Promise<T> {
  const program = session.addProgram(launches);
  const replay = async () => {
    const start = performance.now();
    await session.run(program, []);
    return performance.now() - start;
  };
  try {
    // The second run captures the graph.
    await replay();
    await replay();
    return await use(replay);
  } finally {
    session.removeProgram(program);
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
