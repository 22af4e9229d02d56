/** What quantizers must give, whatever the target. */
import fc from "fast-check";
import { padTo } from "../pack.ts";
import { bitsOf, fromBits } from "./floats.ts";

const RN = Math.fround;

/** What a quantizer gives: codes [rows, k padded to 64], d and sums [rows]. */
export interface Quantized {
  readonly codes: Int8Array;
  readonly d: Float32Array;
  readonly sums: Int32Array;
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** Absmax quantization by the numerics contract, one value at a time. */
export function quantizeRows(
  x: Float32Array,
  rows: number,
  k: number,
  qmax: number,
  perTensor: boolean,
): Quantized {
  const codes = new Int8Array(rows * padTo(k, 64));
  const d = new Float32Array(rows);
  const sums = new Int32Array(rows);
  const magnitude = (values: Float32Array) => values.reduce((m, v) => Math.max(m, bitsOf(v) & 0x7fffffff), 0);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * k, (row + 1) * k);
    const m = magnitude(perTensor ? x : values);
    if (m > 0x7e800000) {
      d[row] = Number.NaN;
      continue;
    }
    const a = Math.max(fromBits(m), RN(1e-5));
    const s = RN(qmax * RN(1 / a));
    d[row] = RN(a * (qmax === 127 ? fromBits(0x3c010204) : RN(1 / qmax)));
    values.forEach((value, i) => {
      const code = Math.min(qmax, Math.max(-qmax - 1, roundHalfEven(RN(value * s))));
      codes[row * padTo(k, 64) + i] = code;
      sums[row]! += code;
    });
  }
  return { codes, d, sums };
}

/** Rows that break quantizers, by name. */
export const hardRows: readonly (readonly [name: string, values: readonly number[]])[] = [
  ["a zero row", [0, 0, 0, 0]],
  ["negative zeros", [-0, 0, -0]],
  ["amax below the floor", [1e-6, -2e-6, 5e-7, 0]],
  ["denormals", [2 ** -149, -(2 ** -140), 2 ** -126]],
  ["ties with amax 127", [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]],
  ["the largest good magnitude", [2 ** 126, 1, -(2 ** 125)]],
  ["amax above 2^126", [3.4e38, -3.4e38, 1, 0]],
  ["just above 2^126", [fromBits(0x7e800001), 1]],
  ["a NaN", [1, Number.NaN, 2]],
  ["infinities", [1, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]],
];

const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
const anyFloat = fc.oneof({ weight: 60, arbitrary: finite }, { weight: 1, arbitrary: fc.float() });

/** x [rows, k], mostly of numbers that quantize. */
export const anyRows = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 140 }))
  .chain(([rows, k]) =>
    fc
      .array(anyFloat, { minLength: rows * k, maxLength: rows * k })
      .map((values) => ({ rows, k, x: Float32Array.from(values) })),
  );
