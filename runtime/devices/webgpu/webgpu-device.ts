import { BitloomError } from "../../../errors/index.ts";
import { abortable, yieldToEvents } from "../../abort.ts";
import type { Entry, Manifest, Region, Step, WebgpuTarget } from "../../manifest.ts";
import { evaluate } from "../../symbols.ts";
import type { ByteRange, Device, DeviceCounters, Numerics } from "../device.ts";
import { findAdapter, type WebgpuFeatures } from "./adapter.ts";
import { COPY_DST, COPY_SRC, MAP_MODE_READ, MAP_READ, STORAGE, UNIFORM } from "./flags.ts";
import { chooseVariant, compileKernels } from "./kernels.ts";
import { probeNumerics } from "./numerics.ts";
import { EntryProgram } from "./program.ts";
import { alignUp, limitExceeded, RegionBuffers } from "./regions.ts";

export interface WebgpuDeviceOptions {
  /** Take a GPU that the processor plays, too. */
  readonly allowSoftware: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Reads a file of the artifact, verified. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Bytes on their way to the device, after which a writer waits. */
const IN_FLIGHT_BYTES = 32 * 1024 * 1024;

/**
 * Opens the GPU, compiles the artifact's kernels and allocates its regions.
 * @throws BitloomError NO_DEVICE, LIMIT_EXCEEDED naming the limit, what is needed and what the GPU offers,
 *   ASSEMBLE_FAILED naming the kernel, DEVICE_FAILED, OUT_OF_MEMORY naming the bytes asked for, ABORTED
 */
export async function createWebgpuDevice(manifest: Manifest, options: WebgpuDeviceOptions): Promise<Device> {
  const target = manifest.targets.webgpu;
  if (target === undefined) {
    throw new BitloomError("NO_DEVICE", "The artifact was not built for WebGPU", {
      hint: "Build it with `--target wasm,webgpu`.",
    });
  }
  const { signal } = options;
  const { adapter, features } = await abortable(findAdapter(), signal);
  if (features.isSoftware && !options.allowSoftware) {
    throw new BitloomError("NO_DEVICE", "The only GPU here is played by the processor", {
      received: features.adapter,
    });
  }
  const gpu = await abortable(requestDevice(manifest, target, adapter, features), signal, (late) =>
    late.destroy(),
  );
  const device = new WebgpuDevice(manifest, target, gpu, features);
  try {
    const { readFile } = options;
    const compiling = device.compile(async (path) => new TextDecoder().decode(await readFile(path)));
    await abortable(compiling, signal);
    await device.probe();
    await device.allocate();
    return device;
  } catch (error) {
    await device.dispose();
    throw error;
  }
}

async function requestDevice(
  manifest: Manifest,
  target: WebgpuTarget,
  adapter: GPUAdapter,
  features: WebgpuFeatures,
): Promise<GPUDevice> {
  const { limits: offered } = features;
  const requiredLimits: Record<string, number> = {};
  const need = (limit: keyof typeof offered, value: number, guaranteed: number, what: string) => {
    if (value > offered[limit]) throw limitExceeded(limit, value, offered[limit], what);
    if (value > guaranteed) requiredLimits[limit] = value;
  };
  for (const kernel of target.kernels) {
    const { bindings, workgroupSize } = chooseVariant(kernel, features);
    const what = `the kernel "${kernel.name}"`;
    const most = (limit: string, value: number) => Math.max(value, requiredLimits[limit] ?? 0);
    need(
      "maxStorageBuffersPerShaderStage",
      most("maxStorageBuffersPerShaderStage", bindings.length),
      8,
      what,
    );
    need(
      "maxComputeInvocationsPerWorkgroup",
      most("maxComputeInvocationsPerWorkgroup", workgroupSize),
      256,
      what,
    );
  }
  const { label, bytes } = largestBinding(manifest, target);
  need("maxStorageBufferBindingSize", bytes, 2 ** 27, `the step "${label}"`);
  for (const [region, pieces] of Object.entries(bufferSizes(manifest, target))) {
    need(
      "maxBufferSize",
      Math.max(...pieces, requiredLimits.maxBufferSize ?? 0),
      2 ** 28,
      `the region ${region}`,
    );
  }
  const invocations = requiredLimits.maxComputeInvocationsPerWorkgroup;
  if (invocations !== undefined) requiredLimits.maxComputeWorkgroupSizeX = invocations;
  try {
    return await adapter.requestDevice({
      label: manifest.name,
      requiredFeatures: features.subgroups ? ["subgroups" as GPUFeatureName] : [],
      requiredLimits,
    });
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", "The GPU cannot be opened", {
      received: (cause as Error).message,
      cause,
    });
  }
}

/** An entry or a check. */
interface Program {
  readonly name: string;
  readonly symbols: Entry["symbols"];
  readonly steps: readonly Step[];
  /** What one run or another reads back. */
  readonly reads: readonly (readonly ByteRange[])[];
}

/** Bytes of each buffer of each region. */
function bufferSizes(
  { regions, weights }: Manifest,
  { arena, buffers }: WebgpuTarget,
): Record<Region, readonly number[]> {
  const cut = (starts: readonly number[], bytes: number) =>
    starts.map((start, index) => alignUp(Math.max(1, (starts[index + 1] ?? bytes) - start)));
  return {
    io: cut(buffers.io, regions.io),
    arena: cut(buffers.arena, arena),
    state: cut(buffers.state, regions.state),
    weights: cut(buffers.weights, weights.bytes),
  };
}

function largestBinding({ entries }: Manifest, { plans }: WebgpuTarget): { label: string; bytes: number } {
  let largest = { label: "", bytes: 0 };
  for (const [name, { symbols }] of Object.entries(entries)) {
    const values = new Map(Object.entries(symbols));
    for (const { label, arguments: all } of plans[name]!) {
      for (const argument of all) {
        if (argument.kind !== "buffer" || argument.bytes === undefined) continue;
        const bytes = evaluate(argument.bytes, values);
        if (bytes > largest.bytes) largest = { label, bytes };
      }
    }
  }
  return largest;
}

class WebgpuDevice implements Device {
  readonly name = "webgpu";
  readonly threads = 1;
  readonly description: string;
  #numerics: Numerics | undefined;
  readonly counters = { dispatches: 0, bytesWritten: 0, bytesRead: 0, buffersCreated: 0 } satisfies {
    -readonly [K in keyof DeviceCounters]: number;
  };
  readonly #manifest: Manifest;
  readonly #target: WebgpuTarget;
  readonly #gpu: GPUDevice;
  readonly #features: WebgpuFeatures;
  readonly #buffers: GPUBuffer[] = [];
  #kernels: Awaited<ReturnType<typeof compileKernels>> = new Map();
  #programs: ReadonlyMap<string, EntryProgram> = new Map();
  #regions!: Readonly<Record<Region, RegionBuffers>>;
  /** Where outputs, or a state, are copied to be read. */
  #staging!: GPUBuffer;
  #inFlight = 0;
  #isDisposed = false;
  /** Why the device is of no more use, if it is. */
  #failure: BitloomError | undefined;
  /** Ends what waits for the device when that is lost. */
  #onLost: ((error: BitloomError) => void) | undefined;

  constructor(manifest: Manifest, target: WebgpuTarget, gpu: GPUDevice, features: WebgpuFeatures) {
    this.#manifest = manifest;
    this.#target = target;
    this.#gpu = gpu;
    this.#features = features;
    const dot = features.packedDot ? ", packed dot product" : "";
    this.description = `WebGPU, ${features.adapter}${features.subgroups ? ", subgroups" : ""}${dot}`;
    void gpu.lost.then(({ reason, message }) => {
      if (this.#isDisposed) return;
      this.#failure ??= new BitloomError("DEVICE_FAILED", "The GPU device was lost", {
        received: message === "" ? reason : message,
        hint: "The driver was reset, or memory ran out; load the model again.",
      });
      this.#onLost?.(this.#failure);
    });
  }

  async compile(readText: (path: string) => Promise<string>): Promise<void> {
    this.#kernels = await compileKernels(this.#gpu, this.#target, this.#features, readText);
  }

  get numerics(): Numerics | undefined {
    return this.#numerics;
  }

  async probe(): Promise<void> {
    try {
      this.#numerics = await this.#unlessLost(probeNumerics(this.#gpu));
    } catch (cause) {
      throw await this.#failed("The probe of the GPU's numerics", cause as Error);
    }
  }

  /** Makes every buffer that calls will need. @throws BitloomError OUT_OF_MEMORY, LIMIT_EXCEEDED */
  async allocate(): Promise<void> {
    const sizes = bufferSizes(this.#manifest, this.#target);
    const total = Object.values(sizes)
      .flat()
      .reduce((sum, size) => sum + size, 0);
    this.#gpu.pushErrorScope("out-of-memory");
    this.#gpu.pushErrorScope("validation");
    let refused: unknown;
    try {
      this.#regions = {
        io: this.#region("io", sizes.io),
        arena: this.#region("arena", sizes.arena),
        state: this.#region("state", sizes.state),
        weights: this.#region("weights", sizes.weights),
      };
      const programs: readonly Program[] = [
        ...Object.entries(this.#manifest.entries).map(([name, { symbols, outputs }]) => ({
          name,
          symbols,
          steps: this.#target.plans[name]!,
          reads: [outputs],
        })),
        ...(this.#target.selfCheck?.checks ?? []).map(({ runs, ...check }) => ({
          ...check,
          reads: runs.map(({ reads }) => reads),
        })),
      ];
      const outputs = programs
        .flatMap(({ reads }) => reads)
        .map((ranges) => ranges.reduce((sum, { bytes }) => sum + wholeWords(bytes), 0));
      const states = (this.#manifest.states ?? []).map(({ bytes }) => wholeWords(bytes));
      this.#staging = this.#create("outputs", Math.max(4, ...outputs, ...states), MAP_READ | COPY_DST);
      this.#programs = new Map(
        programs.map(({ name, symbols, steps }) => [
          name,
          new EntryProgram(
            this.#gpu,
            (bytes) => this.#create(`scalars of ${name}`, bytes, UNIFORM | COPY_DST),
            symbols,
            steps,
            this.#kernels,
            this.#regions,
          ),
        ]),
      );
    } catch (error) {
      // A device may throw for what others report later.
      refused = error;
    }
    const invalid = await this.#gpu.popErrorScope();
    const exhausted = await this.#gpu.popErrorScope();
    if (refused instanceof BitloomError) throw refused;
    const said = exhausted?.message ?? invalid?.message ?? (refused as Error | undefined)?.message;
    if (said === undefined) return;
    throw new BitloomError("OUT_OF_MEMORY", "The model's memory cannot be allocated on the GPU", {
      expected: `${total} bytes`,
      received: said,
      ...(refused !== undefined && { cause: refused }),
    });
  }

  #create(label: string, size: number, usage: number): GPUBuffer {
    const buffer = this.#gpu.createBuffer({ label, size, usage });
    this.#buffers.push(buffer);
    this.counters.buffersCreated++;
    return buffer;
  }

  #region(region: Region, sizes: readonly number[]): RegionBuffers {
    const starts = this.#target.buffers[region];
    return new RegionBuffers(
      sizes.map((size, index) => ({
        start: starts[index]!,
        buffer: this.#create(region, size, STORAGE | COPY_SRC | COPY_DST),
      })),
    );
  }

  write(region: Region, offset: number, bytes: Uint8Array): void | Promise<void> {
    this.#regions[region].write(this.#gpu.queue, offset, bytes);
    this.counters.bytesWritten += bytes.length;
    this.#inFlight += bytes.length;
    if (this.#inFlight < IN_FLIGHT_BYTES) return;
    this.#inFlight = 0;
    this.#gpu.queue.submit([]);
    return this.#unlessLost(this.#gpu.queue.onSubmittedWorkDone());
  }

  async run(
    entry: string,
    symbols: ReadonlyMap<string, number>,
    outputs: readonly string[],
    ranges: readonly ByteRange[],
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    return this.#submit(`The entry "${entry}"`, ranges, (encoder) => {
      const program = this.#programs.get(entry)!;
      if (program.prepare(symbols)) this.counters.bytesWritten += program.uniformBytes;
      const pass = encoder.beginComputePass();
      this.counters.dispatches += program.encode(pass, outputs);
      pass.end();
    });
  }

  async read(ranges: readonly ByteRange[]): Promise<Uint8Array<ArrayBuffer>[]> {
    return this.#submit("Reading outputs", ranges, () => undefined);
  }

  /** Submits what `encode` records and waits until it is done; copies of parts of `io` as they are then. */
  async #submit(
    what: string,
    ranges: readonly ByteRange[],
    encode: (encoder: GPUCommandEncoder) => void,
  ): Promise<Uint8Array<ArrayBuffer>[]> {
    if (this.#failure !== undefined) throw this.#failure;
    const gpu = this.#gpu;
    gpu.pushErrorScope("validation");
    const encoder = gpu.createCommandEncoder();
    encode(encoder);
    let end = 0;
    const places = ranges.map(({ region = "io", offset, bytes }) => {
      const source = this.#regions[region].locate(offset);
      const start = end;
      end += wholeWords(bytes);
      encoder.copyBufferToBuffer(source.buffer, source.offset, this.#staging, start, end - start);
      return { start, bytes };
    });
    gpu.queue.submit([encoder.finish()]);
    const invalid = gpu.popErrorScope();
    this.counters.bytesRead += end;
    this.#inFlight = 0;

    try {
      const done = end > 0 ? this.#staging.mapAsync(MAP_MODE_READ, 0, end) : gpu.queue.onSubmittedWorkDone();
      const [error] = await this.#unlessLost(Promise.all([invalid, done]));
      if (error !== null) throw error;
    } catch (cause) {
      throw await this.#failed(what, cause as Error);
    }
    if (end === 0) return [];
    const mapped = this.#staging.getMappedRange(0, end);
    const results = places.map(({ start, bytes }) => new Uint8Array(mapped.slice(start, start + bytes)));
    this.#staging.unmap();
    return results;
  }

  /** Why the device is of no more use after something that waited for it was not done. */
  async #failed(what: string, cause: Error): Promise<BitloomError> {
    // What waits fails before the loss itself is told.
    await Promise.race([this.#gpu.lost, yieldToEvents()]);
    this.#failure ??= new BitloomError("DEVICE_FAILED", `${what} stopped`, {
      received: cause.message,
      cause,
    });
    return this.#failure;
  }

  /** `promise`, or the loss of the device as soon as it is known. */
  async #unlessLost<T>(promise: Promise<T>): Promise<T> {
    if (this.#failure !== undefined) {
      promise.catch(() => undefined);
      throw this.#failure;
    }
    return new Promise<T>((resolve, reject) => {
      this.#onLost = reject;
      promise.then(resolve, reject);
    }).finally(() => {
      this.#onLost = undefined;
    });
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const buffer of this.#buffers.splice(0)) buffer.destroy();
    this.#gpu.destroy();
  }
}

const wholeWords = (bytes: number): number => Math.ceil(bytes / 4) * 4;
