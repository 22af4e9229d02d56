import fc from "fast-check";

/**
 * Asserts a property whose cases are known beforehand, for targets that make many of them ready faster than one by one:
 * `prepare` is told of all. What shrinking finds besides is not among them.
 */
export async function assertPrepared<T>(
  cases: fc.Arbitrary<T>,
  prepare: ((cases: readonly T[]) => Promise<void>) | undefined,
  holds: (given: T) => Promise<void>,
  numRuns: number,
): Promise<void> {
  const options = { seed: fc.readConfigureGlobal()?.seed ?? Date.now(), numRuns };
  await prepare?.(fc.sample(cases, options));
  await fc.assert(fc.asyncProperty(cases, holds), options);
}
