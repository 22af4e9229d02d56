import { BitloomError } from "../errors/index.ts";

/** The error for work that `signal` ended; its `cause` is the signal's reason. */
export function abortError(signal: AbortSignal): BitloomError {
  return new BitloomError("ABORTED", "The work was aborted", { cause: signal.reason });
}

/** @throws BitloomError ABORTED when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

/** `promise`, or ABORTED as soon as the signal fires; what the promise then brings goes to `discard`. */
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  discard: (late: T) => void = () => undefined,
): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.then(discard, () => undefined);
    throw abortError(signal);
  }
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      promise.then(discard, () => undefined);
      reject(abortError(signal));
    };
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort!);
  }
}

/**
 * Lets other events happen: timers, messages, a click on "stop". Unlike a zero timeout it is not held back
 * by browsers.
 */
export const yieldToEvents: () => Promise<void> =
  typeof setImmediate === "function"
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => {
            port1.close();
            resolve();
          };
          port2.postMessage(undefined);
        });
