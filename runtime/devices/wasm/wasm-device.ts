import { BitloomError } from "../../../errors/index.ts";
import { abortable } from "../../abort.ts";
import type { Warning } from "../../events.ts";
import type { Manifest, Region, WasmTarget } from "../../manifest.ts";
import { availableCores } from "../../node.ts";
import { outputBits } from "../../output-bits.ts";
import type { ByteRange, Device } from "../device.ts";
import { type WasmFeatures, wasmFeatures } from "./features.ts";
import { startWorkers, type Thread } from "./worker.ts";

const PAGE_BYTES = 65_536;

/** The exports of every variant of kernels.wasm. */
interface DriverExports {
  /** Runs the entry with this number (its place in the target's `plans`) as thread 0. */
  run(entry: number): void;
  /** How many threads take part in the next `run`. */
  setThreads(threads: number): void;
  /** Whether thread 0 may sleep while it waits for others. */
  setMayWait(mayWait: number): void;
  /** Lets every thread's `work` return. */
  stop(): void;
  /** Makes every thread that waits trap, and this and every later `run`. */
  fail(): void;
}

export interface WasmDeviceOptions {
  /** Threads asked for; undefined chooses as many as there are cores. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly warn: (warning: Warning) => void;
  /** Reads a file of the artifact, verified. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
  /** What the engine can do; probed when absent. */
  readonly features?: WasmFeatures | undefined;
}

/**
 * Compiles the best module this engine runs, allocates the artifact's memory and starts the threads.
 * @throws BitloomError NO_DEVICE, INVALID_OPTION, OUT_OF_MEMORY naming the bytes asked for, ABORTED
 */
export async function createWasmDevice(manifest: Manifest, options: WasmDeviceOptions): Promise<Device> {
  const target = manifest.targets.wasm;
  if (target === undefined) {
    throw new BitloomError("NO_DEVICE", "The artifact was not built for WebAssembly", {
      hint: "Build it with `--target wasm`.",
    });
  }
  const features = options.features ?? wasmFeatures();
  if (!features.simd) {
    throw new BitloomError("NO_DEVICE", "This engine does not run WebAssembly with SIMD", {
      hint: "Use a newer engine, or allow 'wasm-unsafe-eval' in the page's content security policy.",
    });
  }
  const threads = chooseThreads(target, manifest.weights.bytes, features, options);
  const shared = threads > 1;
  const { path, relaxed } = chooseModule(target, features, shared);
  const bytes = await options.readFile(path);
  const module = await abortable(compile(path, bytes), options.signal);
  const memory = allocate(target.memory.totalBytes, shared);
  const driver = await instantiate(path, module, memory);

  let workers: readonly Thread[] = [];
  let death: string | undefined;
  const onDeath = (reason: string) => {
    death ??= reason;
    driver.fail();
  };
  if (shared) {
    try {
      workers = await startWorkers({ module, memory }, threads, onDeath, options.signal);
    } catch (error) {
      if (!(error instanceof BitloomError) || error.code !== "WORKER_FAILED") throw error;
      const message = `Running on one thread, since no other started: ${error.received}`;
      options.warn({ code: "NO_THREADS", message });
    }
  }
  return new WasmDevice(manifest, target, driver, memory, workers, relaxed, () => death);
}

/**
 * Weights a thread should have to itself: reading them takes a few hundred microseconds a token, many times
 * what the threads then lose waiting for each other.
 */
const BYTES_PER_THREAD = 8 * 1024 * 1024;

const worthwhileThreads = (weightBytes: number): number =>
  Math.max(1, Math.floor(weightBytes / BYTES_PER_THREAD));

function chooseThreads(
  { memory: { maxThreads } }: WasmTarget,
  weightBytes: number,
  features: WasmFeatures,
  { threads: asked, warn }: WasmDeviceOptions,
): number {
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1)) {
    throw new BitloomError("INVALID_OPTION", "The option `threads` is invalid", {
      expected: "a whole number of at least 1",
      received: String(asked),
    });
  }
  if (asked !== undefined && asked > maxThreads) {
    warn({
      code: "FEWER_THREADS",
      message: `The artifact was built for at most ${maxThreads} threads, not ${asked}; using ${maxThreads}.`,
    });
  }
  const threads = Math.min(asked ?? Math.min(availableCores(), worthwhileThreads(weightBytes)), maxThreads);
  if (threads > 1 && !features.threads) {
    warn({
      code: "NO_THREADS",
      message:
        "Running on one thread: shared memory is not available. In a browser, serve the page with the headers " +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.",
    });
    return 1;
  }
  return threads;
}

function chooseModule({ modules }: WasmTarget, features: WasmFeatures, shared: boolean) {
  for (const relaxed of features.relaxedSimd ? [true, false] : [false]) {
    const path = modules[`${relaxed ? "relaxed" : "baseline"}${shared ? "Shared" : ""}`];
    if (path !== undefined) return { path, relaxed };
  }
  throw new BitloomError("NO_DEVICE", "The artifact has no WebAssembly module for this engine", {
    expected: `one ${shared ? "with" : "without"} threads`,
    received: Object.values(modules).join(", "),
    hint: "Build it here: it was made for another engine, or for another number of threads.",
  });
}

async function compile(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", `This engine does not compile ${path}`, {
      received: (cause as Error).message,
      cause,
    });
  }
}

function allocate(bytes: number, shared: boolean): WebAssembly.Memory {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  try {
    return new WebAssembly.Memory(
      shared ? { initial: pages, maximum: pages, shared } : { initial: pages, maximum: pages },
    );
  } catch (cause) {
    throw new BitloomError("OUT_OF_MEMORY", "The model's memory cannot be allocated", {
      expected: `${pages * PAGE_BYTES} bytes of ${shared ? "shared " : ""}WebAssembly memory`,
      received: (cause as Error).message,
      cause,
    });
  }
}

async function instantiate(
  path: string,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<DriverExports> {
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    for (const name of ["run", "setThreads", "setMayWait", "stop", "fail"]) {
      if (typeof exports[name] !== "function") throw new TypeError(`it has no function "${name}"`);
    }
    return exports as unknown as DriverExports;
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", `${path} does not fit its manifest`, {
      received: (cause as Error).message,
      cause,
    });
  }
}

/** Whether this thread may sleep; a page's main thread may not. */
function mayWait(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

class WasmDevice implements Device {
  readonly name = "wasm";
  readonly threads: number;
  readonly description: string;
  readonly #target: WasmTarget;
  readonly #entries: readonly string[];
  /** The names of each entry's outputs; checks have none. */
  readonly #outputs: ReadonlyMap<string, readonly string[]>;
  /** Why a worker thread ended, if one has. */
  readonly #workerDeath: () => string | undefined;
  #driver: DriverExports | undefined;
  #bytes: Uint8Array;
  #symbols: Int32Array;
  #workers: readonly Thread[];

  constructor(
    { entries }: Manifest,
    target: WasmTarget,
    driver: DriverExports,
    memory: WebAssembly.Memory,
    workers: readonly Thread[],
    relaxed: boolean,
    workerDeath: () => string | undefined,
  ) {
    this.#workerDeath = workerDeath;
    this.#target = target;
    this.#entries = [
      ...Object.keys(target.plans),
      ...(target.selfCheck?.checks ?? []).map(({ name }) => name),
    ];
    this.#outputs = new Map(
      Object.entries(entries).map(([name, { outputs }]) => [name, outputs.map((output) => output.name)]),
    );
    this.#driver = driver;
    this.#workers = workers;
    this.threads = workers.length + 1;
    this.description = `WebAssembly, ${relaxed ? "relaxed" : "baseline"} SIMD, ${this.threads} thread${this.threads > 1 ? "s" : ""}`;
    // The memory never grows, so that one view of each kind lasts.
    this.#bytes = new Uint8Array(memory.buffer);
    this.#symbols = new Int32Array(memory.buffer, target.memory.symbols, target.symbolOrder.length + 1);
    driver.setThreads(this.threads);
    driver.setMayWait(mayWait() ? 1 : 0);
  }

  write(region: Region, offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#target.memory[region] + offset);
  }

  async run(
    entry: string,
    symbols: ReadonlyMap<string, number>,
    outputs: readonly string[],
    ranges: readonly ByteRange[],
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    const { symbolOrder } = this.#target;
    for (const [index, name] of symbolOrder.entries()) this.#symbols[index] = symbols.get(name) ?? 1;
    this.#symbols[symbolOrder.length] = outputBits(this.#outputs.get(entry) ?? [], outputs);
    try {
      this.#driver!.run(this.#entries.indexOf(entry));
    } catch (cause) {
      throw new BitloomError("DEVICE_FAILED", `The entry "${entry}" stopped`, {
        received: this.#workerDeath() ?? (cause as Error).message,
        cause,
      });
    }
    return this.read(ranges);
  }

  async read(ranges: readonly ByteRange[]): Promise<Uint8Array<ArrayBuffer>[]> {
    return ranges.map(({ region = "io", offset, bytes }) => {
      const start = this.#target.memory[region] + offset;
      return new Uint8Array(this.#bytes.subarray(start, start + bytes));
    });
  }

  async dispose(): Promise<void> {
    const workers = this.#workers;
    this.#workers = [];
    this.#driver?.stop();
    this.#driver = undefined;
    this.#bytes = new Uint8Array();
    this.#symbols = new Int32Array();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
