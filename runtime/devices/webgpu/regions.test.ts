import { fc, it } from "@fast-check/vitest";
import { expect } from "vitest";
import { RegionBuffers } from "./regions.ts";

/** A buffer and a queue that write as WebGPU's do: whole words, at multiples of them, within the buffer. */
const fakeBuffer = (size: number) => ({ size, bytes: new Uint8Array(size) }) as unknown as GPUBuffer;
const queue = {
  writeBuffer(buffer: { bytes: Uint8Array }, offset: number, data: ArrayBuffer, start: number, size: number) {
    if (offset % 4 !== 0 || size % 4 !== 0) throw new RangeError("not whole words");
    buffer.bytes.set(new Uint8Array(data, start, size), offset);
  },
} as unknown as GPUQueue;

it.prop([
  fc.array(fc.nat(700), { maxLength: 12 }),
  fc.nat(5),
  fc.uniqueArray(fc.integer({ min: 1, max: 12 })),
])("bytes that come in order in pieces of any length lie where they belong", (lengths, skipped, borders) => {
  const starts = [0, ...borders.toSorted((a, b) => a - b).map((border) => 256 * border)];
  const pieces = starts.map((start, i) => ({
    start,
    buffer: fakeBuffer((starts[i + 1] ?? 32 * 1024) - start),
  }));
  const region = new RegionBuffers(pieces);
  let at = skipped;
  const written: number[] = [];
  for (const length of lengths) {
    const bytes = Uint8Array.from({ length }, (_, i) => (at + i) * 31 + 7);
    region.write(queue, at, bytes);
    written.push(...bytes);
    at += length;
  }
  const all = pieces.flatMap(({ buffer }) => [...(buffer as unknown as { bytes: Uint8Array }).bytes]);
  expect(all.slice(skipped, at)).toEqual(written);
  expect(all.slice(at).every((byte) => byte === 0)).toBe(true);
});
