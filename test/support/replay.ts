/**
 * Replays a recorded run of kernels. It imports nothing, so that the same code runs here and, bundled, in a
 * page of a browser, whose engine may have what this one lacks.
 */

/** One kernel call of a run. */
export interface KernelCall {
  readonly kernel: string;
  /** Arguments in the kernel's order, without `begin, end` at their end. */
  readonly values: readonly number[];
  /** Work items, which the threads share. */
  readonly items: number;
}

/** Bytes at an address. */
export interface Piece {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Memory that no kernel may write, begin..end (exclusive). */
export interface Untouchable {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
}

/** A run as plain data, whatever module's kernels it is then given. */
export interface Recording {
  /** Bytes of memory, a multiple of 64 KiB. */
  readonly memoryBytes: number;
  /** What lies in memory at first, in the order it is put there; everything else is junk. */
  readonly image: readonly Piece[];
  readonly calls: readonly KernelCall[];
  readonly untouchable: readonly Untouchable[];
  /** Where results lie in the end. */
  readonly results: readonly { readonly address: number; readonly bytes: number }[];
}

type Kernel = (...values: number[]) => void;

const PAGE = 65_536;
/** Fills memory no step has written: a kernel that reads it gives results no test mistakes for right ones. */
const JUNK = 0xa7;

/** How each call's range is run. */
export interface Shares {
  /** Into how many shares it is cut. */
  readonly threads: number;
  /**
   * The last share first. A kernel that writes past its share's end is then found out, as one that writes ahead
   * of its begin is otherwise.
   */
  readonly reversed?: boolean;
}

/** Calls the recorded kernels and gives the bytes of each result. Throws if a kernel wrote where none may. */
export function replay(module: WebAssembly.Module, recording: Recording, shares: Shares): Uint8Array[] {
  const pages = recording.memoryBytes / PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(JUNK);
  for (const piece of recording.image) bytes.set(piece.bytes, piece.address);
  const before = recording.untouchable.map(({ begin, end }) => bytes.slice(begin, end));
  const { threads } = shares;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  for (const { kernel, values, items } of recording.calls) {
    const run = exports[kernel] as Kernel;
    for (let i = 0; i < threads; i++) {
      const thread = shares.reversed ? threads - 1 - i : i;
      const begin = Math.floor((items * thread) / threads);
      const end = Math.floor((items * (thread + 1)) / threads);
      if (begin < end) run(...values, begin, end);
    }
  }
  for (const [i, { name, begin }] of recording.untouchable.entries()) {
    const changed = before[i]!.findIndex((byte, offset) => byte !== bytes[begin + offset]);
    if (changed >= 0) throw new Error(`a kernel wrote to byte ${changed} of ${name}`);
  }
  return recording.results.map((result) => bytes.slice(result.address, result.address + result.bytes));
}
