import type { Device } from "./devices/device.ts";
import type { Warning } from "./events.ts";
import type { Manifest } from "./manifest.ts";
import { Session, type TensorInputs, type TensorOutputs } from "./session.ts";
import type { Tensor, TensorInput } from "./tensors.ts";

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
  get device(): Pick<Device, "name" | "description" | "threads" | "counters" | "numerics"> {
    return this.session.device;
  }

  /**
   * Computes the entry `run`. Symbols take their values from the inputs' shapes; outputs are copies.
   * @param inputs typed arrays of the declared dtype, or `{ data, dims }`
   * @throws BitloomError INVALID_INPUT naming the input and both shapes, BUSY, DISPOSED, DEVICE_FAILED
   */
  async run(inputs: Inputs): Promise<Outputs> {
    // The manifest's signature is what Inputs and Outputs were generated from.
    return (await this.call("run", inputs)) as unknown as Outputs;
  }

  /**
   * Computes any entry of the manifest, as `run` does.
   * @throws BitloomError INVALID_OPTION for an entry there is not, and as `run`
   */
  call(entry: string, inputs: TensorInputs): Promise<TensorOutputs> {
    return this.#alone(() => this.session.execute(entry, inputs));
  }

  /**
   * A copy of one of the manifest's `states`.
   * @throws BitloomError INVALID_INPUT for a state that is not among them, BUSY, DISPOSED, DEVICE_FAILED
   */
  readState(name: string): Promise<Tensor> {
    return this.#alone(() => this.session.readState(name));
  }

  /**
   * Replaces one of the manifest's `states`.
   * @param value a typed array of the declared dtype, or `{ data, dims }`
   * @throws BitloomError INVALID_INPUT naming the state and both shapes, BUSY, DISPOSED, DEVICE_FAILED
   */
  writeState(name: string, value: TensorInput): Promise<void> {
    return this.#alone(() => this.session.writeState(name, value));
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const release = this.session.acquire();
    try {
      return await work();
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
