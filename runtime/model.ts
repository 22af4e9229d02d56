import type { Device } from "./devices/device.ts";
import type { Warning } from "./events.ts";
import type { Manifest } from "./manifest.ts";
import { Session, type TensorInputs, type TensorOutputs } from "./session.ts";

/** What `load` hands a model beside its device. */
export interface LoadReport {
  /** From the call of `load` until the model could run, in milliseconds. */
  readonly loadMs: number;
  /** How much of it the self-check of the kernels took; undefined if there was none. */
  readonly selfCheckMs: number | undefined;
  readonly warnings: readonly Warning[];
}

/**
 * A loaded artifact. One call at a time: a second one while the first runs is BUSY. Release it with `dispose`
 * or `using`.
 */
export class Model<
  Inputs extends TensorInputs = TensorInputs,
  Outputs extends TensorOutputs = TensorOutputs,
> {
  readonly loadMs: number;
  readonly selfCheckMs: number | undefined;
  /** Why this model runs with less than it could, if it does. */
  readonly warnings: readonly Warning[];
  protected readonly session: Session;

  constructor(manifest: Manifest, device: Device, report: LoadReport) {
    this.session = new Session(manifest, device);
    this.loadMs = report.loadMs;
    this.selfCheckMs = report.selfCheckMs;
    this.warnings = report.warnings;
  }

  get name(): string {
    return this.manifest.name;
  }

  get manifest(): Manifest {
    return this.session.manifest;
  }

  /** What runs the model: `WebAssembly, relaxed SIMD, 4 threads`. */
  get device(): Pick<Device, "name" | "description" | "threads" | "counters"> {
    return this.session.device;
  }

  /**
   * Computes the entry `run`. Symbols take their values from the inputs' shapes; outputs are copies.
   * @param inputs typed arrays of the declared dtype, or `{ data, dims }`
   * @throws BitloomError INVALID_INPUT naming the input and both shapes, BUSY, DISPOSED, DEVICE_FAILED
   */
  async run(inputs: Inputs): Promise<Outputs> {
    const release = this.session.acquire();
    try {
      // The manifest's signature is what Inputs and Outputs were generated from.
      return (await this.session.execute("run", inputs)) as unknown as Outputs;
    } finally {
      release();
    }
  }

  /** Releases memory and threads. The model is of no use afterwards; a second call does nothing. */
  dispose(): Promise<void> {
    return this.session.dispose();
  }

  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
