import { BitloomError } from "../../errors/index.ts";

/** What a shell reports of a process that such a signal ended. */
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const;
type Reason = keyof typeof exitCodes;
const signals = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

/**
 * Does work that ends cleanly, without a message, at Ctrl-C, at a polite kill, when its terminal closes, and when
 * nobody reads the output any more (`| head`). A second Ctrl-C or kill ends the process at once, in
 * which temporary files go.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const abort = (reason: Reason) => {
    // A terminal that closes says so twice: the shell passes it on, and its own end says it again.
    if (signal.aborted && reason === "SIGHUP") return;
    if (signal.aborted) process.exit(exitCodes[reason]);
    controller.abort(reason);
  };
  const closed = () => controller.abort("SIGPIPE");
  for (const name of signals) process.on(name, abort);
  process.stdout.once("error", closed);
  try {
    await work(signal);
  } catch (error) {
    if (!(signal.aborted && error instanceof BitloomError && error.code === "ABORTED")) throw error;
    process.exitCode = exitCodes[signal.reason as Reason];
  } finally {
    for (const name of signals) process.off(name, abort);
    process.stdout.off("error", closed);
  }
}
