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
        const operand = new Uint8Array(bytes);
        for (let at = 0; at < bytes; at += stored) {
          operand.set(vectors.subarray(data, data + Math.min(stored, bytes - at)), at);
        }
        await device.write("io", offset, operand);
      }
      const results = await device.run(name, new Map(Object.entries(symbols)), [], reads);
      for (const [index, read] of reads.entries()) compare(device, read, results[index]!, vectors);
    }
  }
}

function compare(
  device: Device,
  read: Read,
  bytes: Uint8Array<ArrayBuffer>,
  vectors: Uint8Array<ArrayBuffer>,
): void {
  const { kernel, dtype, expected, tolerances, parts } = read;
  const array = arrays[dtype];
  const elements = (start: number, length: number): TypedArray =>
    new array(vectors.slice(start, start + length).buffer);
  const received: TypedArray = new array(bytes.buffer);
  const right = elements(expected, read.bytes);
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
