import type { Region } from "../manifest.ts";

/** What runs an artifact's entries: memory for its regions, and one call per entry. */
export interface Device {
  readonly name: "wasm";
  /** What was chosen, for people: `relaxed SIMD, 4 threads`. */
  readonly description: string;
  readonly threads: number;
  /** Copies bytes into a region. */
  write(region: Region, offset: number, bytes: Uint8Array): void;
  /** Copies bytes out of a region. */
  read(region: Region, offset: number, bytes: number): Uint8Array<ArrayBuffer>;
  /**
   * Runs an entry whose inputs lie in `io`.
   * @param symbols a value for each of the entry's symbols
   * @throws BitloomError DEVICE_FAILED, after which the device is of no more use
   */
  run(entry: string, symbols: ReadonlyMap<string, number>): void | Promise<void>;
  /** Releases memory and threads; safe to call twice. */
  dispose(): Promise<void>;
}
