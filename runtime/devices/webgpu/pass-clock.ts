import { COPY_SRC, QUERY_RESOLVE } from "./flags.ts";

/** Bytes of the two timestamps of a pass, u64 nanoseconds. */
export const TIMESTAMPS_BYTES = 16;

/** Tells how long a pass took by the GPU's own clock; browsers round it. */
export class PassClock {
  /** What a pass is begun with, to be timed. */
  readonly pass: GPUComputePassDescriptor;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;

  constructor(gpu: GPUDevice, create: (label: string, bytes: number, usage: number) => GPUBuffer) {
    this.#queries = gpu.createQuerySet({ type: "timestamp", count: 2 });
    this.#resolved = create("timestamps", TIMESTAMPS_BYTES, QUERY_RESOLVE | COPY_SRC);
    this.pass = {
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: 0,
        endOfPassWriteIndex: 1,
      },
    };
  }

  /** Copies the timestamps of the pass before to where `seconds` will read them. */
  copy(encoder: GPUCommandEncoder, target: GPUBuffer, offset: number): void {
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, target, offset, TIMESTAMPS_BYTES);
  }

  /** Seconds between two timestamps, which a device may give in the wrong order when its clock is set anew. */
  static seconds(timestamps: ArrayBuffer): number {
    const [begin, end] = new BigUint64Array(timestamps) as unknown as [bigint, bigint];
    return Math.max(0, Number(end - begin)) / 1e9;
  }
}
