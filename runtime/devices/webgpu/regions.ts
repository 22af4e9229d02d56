import { BitloomError } from "../../../errors/index.ts";
import { TENSOR_ALIGNMENT } from "../../manifest.ts";

export const alignUp = (bytes: number): number => Math.ceil(bytes / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;

export function limitExceeded(limit: string, needed: number, offered: number, what: string): BitloomError {
  return new BitloomError("LIMIT_EXCEEDED", `The GPU's limit ${limit} is too small for the model`, {
    expected: `${needed} for ${what}`,
    received: `${offered} is what this device offers`,
    hint: "Use the wasm device, or build with a smaller context or chunk.",
  });
}

/** A region in the buffers that the target cuts it into. */
export class RegionBuffers {
  readonly #pieces: readonly { readonly start: number; readonly buffer: GPUBuffer }[];
  /** The last word written, where it was not whole, at this offset of the region. */
  #unfinished: { readonly offset: number; readonly bytes: Uint8Array } | undefined;

  constructor(pieces: readonly { readonly start: number; readonly buffer: GPUBuffer }[]) {
    this.#pieces = pieces;
  }

  /** The buffer that holds `offset`, and where in it. */
  locate(offset: number): { readonly buffer: GPUBuffer; readonly offset: number } {
    const { start, buffer } = this.#pieces.findLast((piece) => piece.start <= offset)!;
    return { buffer, offset: offset - start };
  }

  /**
   * Writes bytes that come in order. Queues write whole words only: a word that one call begins and the next
   * one goes on with is written twice.
   */
  write(queue: GPUQueue, offset: number, bytes: Uint8Array): void {
    const begun = offset % 4;
    const head = this.#unfinished?.offset === offset - begun ? this.#unfinished.bytes : new Uint8Array();
    this.#unfinished = undefined;
    let [at, data] = [offset, bytes];
    if (begun !== 0 || bytes.length % 4 !== 0) {
      at = offset - begun;
      data = new Uint8Array(Math.ceil((begun + bytes.length) / 4) * 4);
      data.set(head.subarray(0, begun));
      data.set(bytes, begun);
      const end = begun + bytes.length;
      const word = Math.floor(end / 4) * 4;
      this.#unfinished = { offset: at + word, bytes: data.slice(word) };
    }
    for (let done = 0; done < data.length; ) {
      const place = this.locate(at + done);
      const size = Math.min(data.length - done, place.buffer.size - place.offset);
      const part = data.subarray(done, done + size);
      queue.writeBuffer(place.buffer, place.offset, part.buffer as ArrayBuffer, part.byteOffset, size);
      done += size;
    }
  }
}
