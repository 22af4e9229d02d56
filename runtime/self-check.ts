import { BitloomError } from "../errors/index.ts";
import type { Device } from "./devices/device.ts";
import { arrays, type TypedArray } from "./dtypes.ts";
import type { Check, SelfCheck } from "./manifest.ts";

type Read = Check["runs"][number]["reads"][number];

/** By how much a float may differ besides its tolerance, relative to itself: a few units in the last place. */
const RELATIVE = 2 ** -18;

/**
 * Has every kernel of a device compute something known, in memory that no entry keeps anything in.
 * @param vectors the file of operands and answers
 * @throws BitloomError SELF_CHECK_FAILED naming the first kernel that computes something else, and the numbers;
 *   DEVICE_FAILED
 */
export async function selfCheck(
  device: Device,
  { checks }: SelfCheck,
  vectors: Uint8Array<ArrayBuffer>,
): Promise<void> {
  for (const { name, runs } of checks) {
    for (const { symbols, writes, reads } of runs) {
      // What a kernel does not write must not look as if it had: no answer is like these bytes.
      for (const { region, offset, bytes } of reads) {
        await device.write(region, offset, new Uint8Array(bytes).fill(0xff));
      }
      for (const { offset, bytes, data, stored } of writes) {
        await device.write("io", offset, repeated(vectors.subarray(data, data + stored), bytes));
      }
      const results = await device.run(name, new Map(Object.entries(symbols)), [], reads);
      for (const [index, read] of reads.entries()) compare(device, read, results[index]!, vectors);
    }
  }
}

/** As many bytes as are asked for of `part`, over and over. */
function repeated(part: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += part.length) whole.set(part.subarray(0, bytes - at), at);
  return whole;
}

function answerOf(
  { expected, bytes, stored = bytes, patches = [] }: Read,
  vectors: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const answer = repeated(vectors.subarray(expected, expected + stored), bytes);
  for (const { at, bytes: length, data } of patches) answer.set(vectors.subarray(data, data + length), at);
  return answer;
}

function compare(
  device: Device,
  read: Read,
  bytes: Uint8Array<ArrayBuffer>,
  vectors: Uint8Array<ArrayBuffer>,
): void {
  const { kernel, dtype, tolerances, parts } = read;
  const received: TypedArray = new arrays[dtype](bytes.buffer);
  const right: TypedArray = new arrays[dtype](answerOf(read, vectors).buffer);
  const allowed = new Float32Array(vectors.slice(tolerances, tolerances + 4 * parts).buffer);
  for (const [i, want] of right.entries()) {
    const got = received[i]!;
    const tolerance = allowed[Math.floor((i * parts) / right.length)]!;
    const limit = tolerance + (dtype === "f32" ? RELATIVE * Math.abs(want) : 0);
    // WGSL promises nothing of what is not finite.
    if (!Number.isFinite(want) || Math.abs(got - want) <= limit) continue;
    throw new BitloomError(
      "SELF_CHECK_FAILED",
      `The kernel "${kernel}" computes wrongly on ${device.description}`,
      {
        expected: `${want}${limit > 0 ? ` within ${limit.toPrecision(2)}` : ""} as element ${i} of its check`,
        received: String(got),
      },
    );
  }
}
