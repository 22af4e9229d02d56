import { BitloomError } from "../../../errors/index.ts";
import { abortable } from "../../abort.ts";
import { isNode, nodeModule } from "../../node.ts";

/** What a worker is told: the module to instantiate over the shared memory, and which thread it is. */
interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
}

/**
 * The whole of a worker. It is text, not a file, so that no bundler has to find it; `port` is an expression for
 * the worker's end of the line. `work` returns once the module is stopped; when it traps, `fail` lets the other
 * threads know.
 */
const script = (port: string): string => `
const port = ${port};
port.onmessage = async ({ data: { module, memory, thread } }) => {
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    port.postMessage("ready");
    try {
      exports.work(thread);
    } catch (error) {
      exports.fail();
      throw error;
    }
  } catch (error) {
    port.postMessage(String(error));
  }
};`;

/** A running thread. */
export interface Thread {
  terminate(): Promise<void>;
}

/**
 * Starts threads 1 to `threads` - 1 and waits until each is about to enter `work`. They keep no process alive.
 * @param onDeath told why when one ends later, unasked or terminated
 * @throws BitloomError WORKER_FAILED when one cannot start (a strict content security policy, no memory), ABORTED
 */
export async function startWorkers(
  start: Omit<WorkerStart, "thread">,
  threads: number,
  onDeath: (reason: string) => void,
  signal: AbortSignal | undefined,
): Promise<readonly Thread[]> {
  const workers: Thread[] = [];
  try {
    const ready: Promise<void>[] = [];
    for (let thread = 1; thread < threads; thread++) {
      ready.push(
        new Promise((resolve, reject) => {
          let working = false;
          const onMessage = (message: string) => {
            if (message === "ready") {
              working = true;
              resolve();
            } else if (working) {
              onDeath(message);
            } else {
              reject(new Error(message));
            }
          };
          workers.push(spawn({ ...start, thread }, onMessage));
        }),
      );
    }
    await abortable(Promise.all(ready), signal);
    return workers;
  } catch (cause) {
    await Promise.all(workers.map((worker) => worker.terminate()));
    if (cause instanceof BitloomError) throw cause;
    throw new BitloomError("WORKER_FAILED", "A worker thread did not start", {
      received: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

/** @param onMessage called with "ready", or with what went wrong */
function spawn(start: WorkerStart, onMessage: (message: string) => void): Thread {
  return isNode ? spawnInNode(start, onMessage) : spawnInBrowser(start, onMessage);
}

function spawnInNode(start: WorkerStart, onMessage: (message: string) => void): Thread {
  const { Worker } = nodeModule("node:worker_threads");
  const worker = new Worker(script(`require("node:worker_threads").parentPort`), {
    eval: true,
    // Neither the process's flags nor its loaders concern a worker that imports nothing.
    execArgv: [],
    name: `bitloom-${start.thread}`,
  });
  worker.on("message", (message: string) => {
    // From here on the thread must not keep the process alive; until now it had to.
    worker.unref();
    onMessage(message);
  });
  worker.on("error", (error) => onMessage(String(error)));
  worker.on("exit", (code) => onMessage(`the thread exited with code ${code}`));
  worker.postMessage(start);
  return {
    async terminate() {
      await worker.terminate();
    },
  };
}

function spawnInBrowser(start: WorkerStart, onMessage: (message: string) => void): Thread {
  const url = URL.createObjectURL(new Blob([script("self")], { type: "text/javascript" }));
  let worker: Worker;
  try {
    worker = new Worker(url, { name: `bitloom-${start.thread}` });
  } catch (error) {
    URL.revokeObjectURL(url);
    throw error;
  }
  worker.onmessage = ({ data }) => {
    URL.revokeObjectURL(url);
    onMessage(data);
  };
  worker.onerror = (event) => {
    URL.revokeObjectURL(url);
    onMessage(event.message || "the worker was refused, perhaps by the page's content security policy");
  };
  worker.postMessage(start);
  return {
    async terminate() {
      worker.terminate();
    },
  };
}
