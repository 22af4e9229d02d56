import type { Region } from "../manifest.ts";

/** A part of a region. */
export interface ByteRange {
  /** `io` if absent. */
  readonly region?: Region;
  readonly offset: number;
  readonly bytes: number;
}

/** What a device has done since it was made; only devices that are told every step count. */
export interface DeviceCounters {
  /** Kernels started. */
  readonly dispatches: number;
  /** Bytes copied to the device and back from it. */
  readonly bytesWritten: number;
  readonly bytesRead: number;
  /** Buffers allocated on the device. */
  readonly buffersCreated: number;
}

/** How a device computes f32 where its language leaves that open. */
export interface Numerics {
  /** Products and sums are the nearest floats, the even one of two that are equally near. */
  readonly roundsToNearest: boolean;
  /** `a * b + c` is rounded once. */
  readonly contracts: boolean;
  /** Numbers below 2^-126 are computed with, and come out; not taken or made to be 0. */
  readonly keepsSubnormals: boolean;
}

/** What runs an artifact's entries: memory for its regions, and one call per entry. */
export interface Device {
  readonly name: "wasm" | "webgpu" | "cuda";
  /** What was chosen, for people: `relaxed SIMD, 4 threads`. */
  readonly description: string;
  /** Threads of the processor that compute. */
  readonly threads: number;
  readonly counters?: DeviceCounters | undefined;
  /** As a probe found them; undefined where the language leaves nothing open. */
  readonly numerics?: Numerics | undefined;
  /** Copies bytes into a region; `bytes` may change as soon as it returns, and the next write waits for it. */
  write(region: Region, offset: number, bytes: Uint8Array): void | Promise<void>;
  /**
   * Runs an entry, or a check of the target, whose inputs lie in `io`; one at a time.
   * @param symbols a value for each of its symbols
   * @param outputs the outputs to compute, by name; states are kept up whatever they are
   * @param ranges the parts of regions to read
   * @returns copies of them
   * @throws BitloomError DEVICE_FAILED, after which the device is of no more use
   */
  run(
    entry: string,
    symbols: ReadonlyMap<string, number>,
    outputs: readonly string[],
    ranges: readonly ByteRange[],
  ): Promise<Uint8Array<ArrayBuffer>[]>;
  /** Copies of parts of regions as the last run or write left them; of states, one at a time. @throws BitloomError DEVICE_FAILED */
  read(ranges: readonly ByteRange[]): Promise<Uint8Array<ArrayBuffer>[]>;
  /** Releases memory and threads; safe to call twice. */
  dispose(): Promise<void>;
}
