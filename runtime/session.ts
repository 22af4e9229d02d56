import { BitloomError } from "../errors/index.ts";
import type { ByteRange, Device } from "./devices/device.ts";
import { arrays } from "./dtypes.ts";
import type { Manifest, TensorSlot } from "./manifest.ts";
import { bindInputs, boundDims, type Tensor, type TensorInput } from "./tensors.ts";

export type TensorInputs = Readonly<Record<string, TensorInput>>;
export type TensorOutputs = Readonly<Record<string, Tensor>>;

/** What has a session to itself. */
export interface Work {
  readonly name: string;
  /** How to have it end. */
  readonly hint: string;
}

const call: Work = {
  name: "another call",
  hint: "Await the running call first, or load the artifact a second time.",
};

/** Outputs of an entry, by name. */
export interface WantedOutputs {
  readonly read: readonly string[];
  /** Further ones that `Session.read` may be asked for. */
  readonly computed?: readonly string[];
}

/** Where an output of a run lies, and what it is. */
interface OutputPlace extends ByteRange {
  readonly name: string;
  readonly array: (typeof arrays)[keyof typeof arrays];
  readonly dims: readonly number[];
}

/** The bare execution of an artifact's entries: one device, one call at a time. */
export class Session {
  readonly manifest: Manifest;
  readonly device: Device;
  #work: Work | undefined;
  #disposed: Promise<void> | undefined;
  #failed: BitloomError | undefined;
  /** Where the outputs of the last run lie. */
  #places: readonly OutputPlace[] = [];

  constructor(manifest: Manifest, device: Device) {
    this.manifest = manifest;
    this.device = device;
  }

  /**
   * Takes the session for one piece of work, which ends when the returned function is called.
   * @param work what it is, and how its owner ends it, for others who come meanwhile
   * @throws BitloomError BUSY while another has it, DISPOSED, or DEVICE_FAILED after a device has stopped
   */
  acquire(work: Work = call): () => void {
    this.assertAlive();
    if (this.#work !== undefined) {
      throw new BitloomError("BUSY", `The model is at work on ${this.#work.name}`, { hint: this.#work.hint });
    }
    this.#work = work;
    return () => {
      this.#work = undefined;
    };
  }

  /** @throws BitloomError DISPOSED, or DEVICE_FAILED after a device has stopped */
  assertAlive(): void {
    if (this.#disposed !== undefined) throw new BitloomError("DISPOSED", "The model has been disposed of");
    if (this.#failed !== undefined) throw this.#failed;
  }

  /**
   * Runs an entry; the caller holds the session.
   * @param wanted all outputs if absent
   * @throws BitloomError INVALID_INPUT, DEVICE_FAILED
   */
  async execute(name: string, inputs: TensorInputs, wanted?: WantedOutputs): Promise<Record<string, Tensor>> {
    this.assertAlive();
    const entry = Object.hasOwn(this.manifest.entries, name) ? this.manifest.entries[name]! : undefined;
    if (entry === undefined) {
      throw new BitloomError("INVALID_OPTION", `The artifact has no entry "${name}"`, {
        expected: Object.keys(this.manifest.entries).join(", "),
      });
    }
    const { tensors, symbols } = bindInputs(entry, inputs);
    this.#places = entry.outputs.map((slot) => {
      const dims = boundDims(slot, symbols);
      const array = arrays[slot.dtype];
      const bytes = dims.reduce((product, dim) => product * dim, array.BYTES_PER_ELEMENT);
      return { name: slot.name, array, dims, offset: slot.offset, bytes };
    });
    const { read = entry.outputs.map((slot) => slot.name), computed = [] } = wanted ?? {};
    const places = this.#placesOf(read);
    const results = await this.#attempt(async () => {
      for (const { slot, data } of tensors) {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        await this.device.write("io", slot.offset, bytes);
      }
      return this.device.run(name, symbols, [...read, ...computed], places);
    });
    return tensorsOf(places, results);
  }

  /**
   * Outputs that the last run computed.
   * @throws BitloomError DEVICE_FAILED
   */
  async read(wanted: readonly string[]): Promise<Record<string, Tensor>> {
    this.assertAlive();
    const places = this.#placesOf(wanted);
    return tensorsOf(places, await this.#attempt(() => this.device.read(places)));
  }

  /** A copy of a state. @throws BitloomError INVALID_INPUT for one that the artifact does not name, DEVICE_FAILED */
  async readState(name: string): Promise<Tensor> {
    this.assertAlive();
    const { dtype, dims, offset, bytes } = this.#stateOf(name);
    const [data] = await this.#attempt(() => this.device.read([{ region: "state", offset, bytes }]));
    return { data: new arrays[dtype](data!.buffer), dims };
  }

  /** Replaces a state. @throws BitloomError INVALID_INPUT naming the state and both shapes, DEVICE_FAILED */
  async writeState(name: string, value: TensorInput): Promise<void> {
    this.assertAlive();
    const slot = this.#stateOf(name);
    const { tensors } = bindInputs({ inputs: [slot], outputs: [], symbols: {} }, { [name]: value });
    const { data } = tensors[0]!;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    await this.#attempt(async () => this.device.write("state", slot.offset, bytes));
  }

  #stateOf(name: string): TensorSlot & { readonly dims: readonly number[] } {
    const { states = [] } = this.manifest;
    const slot = states.find((state) => state.name === name);
    // parseManifest has seen to it that states have no symbols.
    if (slot !== undefined) return slot as TensorSlot & { dims: number[] };
    throw new BitloomError(
      "INVALID_INPUT",
      `The artifact has no state "${name}" that can be read or written`,
      {
        expected: states.length === 0 ? "no state" : states.map((state) => state.name).join(", "),
      },
    );
  }

  #placesOf(names: readonly string[]): readonly OutputPlace[] {
    return this.#places.filter(({ name }) => names.includes(name));
  }

  /** That the session has ended meanwhile, or that its device has, comes before what `work` says. */
  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      this.assertAlive();
      return result;
    } catch (error) {
      this.assertAlive();
      if (error instanceof BitloomError && error.code === "DEVICE_FAILED") this.#failed = error;
      throw error;
    }
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.device.dispose();
    return this.#disposed;
  }
}

function tensorsOf(
  places: readonly OutputPlace[],
  results: readonly Uint8Array<ArrayBuffer>[],
): Record<string, Tensor> {
  return Object.fromEntries(
    places.map(({ name, array, dims }, i) => [name, { data: new array(results[i]!.buffer), dims }]),
  );
}
