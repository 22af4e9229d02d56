import { BitloomError } from "../../errors/index.ts";
import { Random } from "../random.ts";

/** Tokens of a call and what follows each of them, both i32 [batch, sequence]. */
export interface TokenBatch {
  readonly tokens: { readonly data: Int32Array<ArrayBuffer>; readonly dims: readonly [number, number] };
  readonly targets: { readonly data: Int32Array<ArrayBuffer>; readonly dims: readonly [number, number] };
}

/**
 * A stream of tokens cut into windows of one length. Epochs go through all of them, each in an order of its own that the
 * seed settles, so that a batch is a function of its number alone and a run resumes where it was.
 */
export class Windows {
  readonly #tokens: Int32Array;
  readonly #sequence: number;
  readonly #seed: number;
  /** How many there are. */
  readonly count: number;
  #epoch = -1;
  #order = new Uint32Array();

  /** @throws BitloomError INVALID_INPUT for a stream that fills no window */
  constructor(tokens: Int32Array, sequence: number, seed: number) {
    this.#tokens = tokens;
    this.#sequence = sequence;
    this.#seed = seed;
    this.count = Math.floor((tokens.length - 1) / sequence);
    if (this.count >= 1) return;
    throw new BitloomError("INVALID_INPUT", "There is too little text to train on", {
      expected: `at least ${sequence + 1} tokens in each part, what a sequence and its last target take`,
      received: `${tokens.length} tokens`,
      hint: "Give more text, or lower `sequence`.",
    });
  }

  /** The batch with this number, shuffled. */
  shuffled(number: number, size: number): TokenBatch {
    return this.#batch(
      Array.from({ length: size }, (_, i) => {
        const index = number * size + i;
        return this.#orderOf(Math.floor(index / this.count))[index % this.count]!;
      }),
    );
  }

  /** The windows from `start` on in their own order; fewer than `size` at the end. */
  inOrder(start: number, size: number): TokenBatch {
    const length = Math.min(size, this.count - start);
    return this.#batch(Array.from({ length }, (_, i) => start + i));
  }

  #batch(windows: readonly number[]): TokenBatch {
    const length = this.#sequence;
    const part = (shift: number) => {
      const data = new Int32Array(windows.length * length);
      for (const [row, window] of windows.entries()) {
        const start = window * length + shift;
        data.set(this.#tokens.subarray(start, start + length), row * length);
      }
      return { data, dims: [windows.length, length] as const };
    };
    return { tokens: part(0), targets: part(1) };
  }

  /** Fisher and Yates's shuffle, from a generator of the epoch's own. */
  #orderOf(epoch: number): Uint32Array {
    if (epoch === this.#epoch) return this.#order;
    const random = Random.fromSeed(Math.imul(this.#seed, 0x9e3779b1) ^ epoch);
    const order = Uint32Array.from({ length: this.count }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random.uniform() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    this.#epoch = epoch;
    this.#order = order;
    return order;
  }
}
