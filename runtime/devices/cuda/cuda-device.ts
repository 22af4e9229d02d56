import { BitloomError } from "../../../errors/index.ts";
import { abortable } from "../../abort.ts";
import type { CudaTarget, Manifest, Region, Step } from "../../manifest.ts";
import type { SymbolValues } from "../../symbols.ts";
import type { ByteRange, Device, DeviceCounters } from "../device.ts";
import type { CudaSession, Launch } from "./addon.ts";
import { loadImage } from "./image.ts";
import { type CudaMachine, capabilityText, findMachine } from "./machine.ts";
import { type LoadedKernel, planLaunches, regionOrder } from "./program.ts";

export interface CudaDeviceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Reads a file of the artifact, verified. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Programs that are kept: one for decoding, and one for each of the prompt lengths seen last. */
const MAX_PROGRAMS = 16;

/**
 * Opens the first NVIDIA card, loads the artifact's kernels and allocates its regions.
 * @throws BitloomError NO_DEVICE, ASSEMBLE_FAILED with the compiler's log, OUT_OF_MEMORY naming the bytes asked for
 *   and free, DEVICE_FAILED, ABORTED
 */
export async function createCudaDevice(manifest: Manifest, options: CudaDeviceOptions): Promise<Device> {
  const target = manifest.targets.cuda;
  if (target === undefined) {
    throw new BitloomError("NO_DEVICE", "The artifact was not built for CUDA", {
      hint: "Build it with `--target wasm,cuda`.",
    });
  }
  const { signal, readFile } = options;
  const machine = await abortable(findMachine(), signal);
  const { computeCapability, name } = machine.cards[0]!;
  if (computeCapability < target.computeCapability) {
    throw new BitloomError("NO_DEVICE", "The NVIDIA card is too old for the artifact's kernels", {
      expected: `compute capability ${capabilityText(target.computeCapability)}`,
      received: `${capabilityText(computeCapability)}, of ${name}`,
    });
  }
  const session = await abortable(machine.open(), signal, (late) => late.dispose());
  try {
    const opening = openDevice(manifest, target, machine, session, readFile);
    // What has begun on the card has to end before the session can.
    return await abortable(opening, signal).catch(async (error) => {
      await opening.catch(() => undefined);
      throw error;
    });
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

async function openDevice(
  manifest: Manifest,
  target: CudaTarget,
  machine: CudaMachine,
  session: CudaSession,
  readFile: CudaDeviceOptions["readFile"],
): Promise<Device> {
  const { name, computeCapability } = machine.cards[0]!;
  const { module, origin } = await loadImage(session, machine, target, readFile);
  const kernels = new Map(
    target.kernels.map((kernel) => [
      kernel.name,
      { kernel, number: addKernel(session, module, kernel) } satisfies LoadedKernel,
    ]),
  );
  await allocate(session, name, {
    ...manifest.regions,
    arena: target.arena,
    weights: manifest.weights.bytes,
  });
  const description = `CUDA, ${name} (compute capability ${capabilityText(computeCapability)}), driver for CUDA ${machine.driver}, ${origin}`;
  return new CudaDevice(target, session, kernels, description);
}

function addKernel(
  session: CudaSession,
  module: number,
  { name, entryPoint, blockSize }: LoadedKernel["kernel"],
): number {
  try {
    return session.addKernel(module, entryPoint, blockSize);
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", `The artifact's image for CUDA lacks the kernel "${name}"`, {
      expected: entryPoint,
      received: (cause as Error).message,
      hint: "Rebuild the artifact.",
      cause,
    });
  }
}

async function allocate(
  session: CudaSession,
  card: string,
  sizes: Readonly<Record<Region, number>>,
): Promise<void> {
  try {
    await session.allocate(regionOrder.map((region) => sizes[region]));
  } catch (cause) {
    if ((cause as { code?: string }).code !== "CUDA_ERROR_OUT_OF_MEMORY") {
      throw failure("The NVIDIA card allocates no memory", cause);
    }
    const { freeBytes, totalBytes } = session.memory();
    const asked = regionOrder.reduce((sum, region) => sum + sizes[region], 0);
    throw new BitloomError("OUT_OF_MEMORY", "The model's memory cannot be allocated on the NVIDIA card", {
      expected: `${asked} bytes`,
      received: `${freeBytes} of ${totalBytes} bytes are free on ${card}`,
      cause,
    });
  }
}

/** Launches that the session keeps: its number there, and how many they are. */
interface Program {
  readonly number: number;
  readonly launches: number;
}

class CudaDevice implements Device {
  readonly name = "cuda";
  readonly threads = 1;
  readonly description: string;
  readonly counters = {
    dispatches: 0,
    bytesWritten: 0,
    bytesRead: 0,
    buffersCreated: regionOrder.length,
  } satisfies { -readonly [K in keyof DeviceCounters]: number };
  /** Of entries and checks, by name. */
  readonly #steps: ReadonlyMap<string, readonly Step[]>;
  readonly #session: CudaSession;
  readonly #kernels: ReadonlyMap<string, LoadedKernel>;
  /** By entry, values of its symbols and outputs; those used last at the end. */
  readonly #programs = new Map<string, Program>();
  readonly #nothing: Program;
  /** What the session is at. */
  #running: Promise<unknown> = Promise.resolve();
  #disposed: Promise<void> | undefined;

  constructor(
    target: CudaTarget,
    session: CudaSession,
    kernels: ReadonlyMap<string, LoadedKernel>,
    description: string,
  ) {
    this.#steps = new Map([
      ...Object.entries(target.plans),
      ...(target.selfCheck?.checks ?? []).map(({ name, steps }) => [name, steps] as const),
    ]);
    this.#session = session;
    this.#kernels = kernels;
    this.description = description;
    this.#nothing = this.#addProgram([]);
  }

  write(region: Region, offset: number, bytes: Uint8Array): void {
    try {
      this.#session.write(regionOrder.indexOf(region), offset, bytes);
    } catch (cause) {
      throw failure("Nothing can be copied to the NVIDIA card", cause);
    }
    this.counters.bytesWritten += bytes.length;
  }

  run(
    entry: string,
    symbols: SymbolValues,
    outputs: readonly string[],
    ranges: readonly ByteRange[],
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    return this.#run(`The entry "${entry}"`, ranges, () => this.#program(entry, symbols, outputs));
  }

  read(ranges: readonly ByteRange[]): Promise<Uint8Array<ArrayBuffer>[]> {
    return this.#run("Reading outputs", ranges, () => this.#nothing);
  }

  /** Runs a program, and copies parts of `io` as they are then. */
  async #run(
    what: string,
    ranges: readonly ByteRange[],
    find: () => Program,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    try {
      const { number, launches } = find();
      const running = this.#session.run(
        number,
        ranges.map(({ region = "io", offset, bytes }) => ({
          region: regionOrder.indexOf(region),
          offset,
          bytes,
        })),
      );
      this.#running = running.catch(() => undefined);
      const buffers = await running;
      this.counters.dispatches += launches;
      for (const { bytes } of ranges) this.counters.bytesRead += bytes;
      return buffers.map((buffer) => new Uint8Array(buffer));
    } catch (cause) {
      throw failure(`${what} stopped`, cause);
    }
  }

  /** The entry's launches for these symbols and outputs, made where they are not kept. */
  #program(entry: string, symbols: SymbolValues, outputs: readonly string[]): Program {
    const key = JSON.stringify([entry, ...symbols, ...outputs]);
    const known = this.#programs.get(key);
    this.#programs.delete(key);
    if (known === undefined && this.#programs.size === MAX_PROGRAMS) {
      const [oldest, { number }] = this.#programs.entries().next().value!;
      this.#session.removeProgram(number);
      this.#programs.delete(oldest);
    }
    const program =
      known ?? this.#addProgram(planLaunches(this.#steps.get(entry)!, this.#kernels, symbols, outputs));
    this.#programs.set(key, program);
    return program;
  }

  #addProgram(launches: readonly Launch[]): Program {
    return { number: this.#session.addProgram(launches), launches: launches.length };
  }

  /** Waits for the call that runs: the card cannot be stopped within one. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#running.then(() => this.#session.dispose());
    return this.#disposed;
  }
}

function failure(summary: string, cause: unknown): BitloomError {
  return new BitloomError("DEVICE_FAILED", summary, {
    received: (cause as Error).message,
    hint: "Load the model again, in a new process: after a kernel's fault the driver may refuse this one everything.",
    cause,
  });
}
