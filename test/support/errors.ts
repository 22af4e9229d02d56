import { BitloomError } from "../../errors/index.ts";

/** What a caller that TypeScript does not check could pass. */
// biome-ignore lint/suspicious/noExplicitAny: the point of the tests that use it
export const unchecked = (value: unknown) => value as any;

/** The Bitloom error that `run` throws; anything else fails the test. */
export function errorOf(run: () => unknown): BitloomError {
  try {
    run();
  } catch (error) {
    if (error instanceof BitloomError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** The Bitloom error that a promise rejects with; anything else fails the test. */
export async function rejectionOf(promise: Promise<unknown>): Promise<BitloomError> {
  const reason = await promise.then(
    () => new Error("nothing was thrown"),
    (error: unknown) => error,
  );
  if (reason instanceof BitloomError) return reason;
  throw reason;
}
