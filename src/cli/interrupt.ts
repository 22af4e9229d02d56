import { BitloomError } from "../../errors/index.ts";

/** What a shell reports of a process that such a signal ended. */
const exitCodes = { SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const;
type Reason = keyof typeof exitCodes;

/**
 * Does work that ends cleanly, without a message, at Ctrl-C, at a polite kill, and when nobody reads the output
 * any more (`| head`). A second signal ends the process at once.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const abort = (reason: Reason) => controller.abort(reason);
  const closed = () => abort("SIGPIPE");
  process.once("SIGINT", abort).once("SIGTERM", abort);
  process.stdout.once("error", closed);
  try {
    await work(signal);
  } catch (error) {
    if (!(signal.aborted && error instanceof BitloomError && error.code === "ABORTED")) throw error;
    process.exitCode = exitCodes[signal.reason as Reason];
  } finally {
    process.off("SIGINT", abort).off("SIGTERM", abort);
    process.stdout.off("error", closed);
  }
}
