import {
  type Buffer,
  bits,
  convert,
  type f32,
  type i32,
  localId,
  math,
  type Registers,
  registers,
  type Shared,
  type Static,
  select,
  shared,
  type u32,
  unroll,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { exactReciprocal } from "./exact-reciprocal.ts";
import { openNormalizedRow } from "./normalized-row.ts";
import { eachFour, type LoadFour, openRow, type RowOptions } from "./row-values.ts";
import { type WorkgroupOptions, workgroupMax, workgroupSum } from "./workgroup.ts";

/** What a specialization of {@link rowMagnitudes} fixes. */
export interface RowMagnitudesOptions extends RowOptions {
  /** Take rms_norm(prologue, normWeight, eps) instead of the prologue itself. */
  norm: boolean;
}

/** What a specialization of {@link quantize} fixes. */
export interface QuantizeOptions extends RowMagnitudesOptions {
  /** 2^(bits-1) - 1: 127 for 8 bits. Codes lie in -(qmax+1)..qmax. */
  qmax: number;
  /** One absmax over all rows, of which `magnitudes` has each row's, instead of one per row. */
  perTensor: boolean;
}

/**
 * Absmax quantization of rows to signed codes with a multiplicative dequantization scale.
 * a = max(absmax, 1e-5), s = RN(qmax * RN(1/a)), code = clamp(RNE(RN(x * s))), d = RN(a * RN(1/qmax)).
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param normWeight f32[k] when `norm`; otherwise never read
 * @param magnitudes u32[rows] from {@link rowMagnitudes} when `perTensor`; otherwise never read
 * @param codes i8[rows, kPadded] as words of four, the lowest byte first; the tail of each row zeroed
 * @param d f32[rows], value = code * d; NaN for a row with NaN, Inf or a magnitude above 2^126
 * @param sums i32[rows], the sum of each row's codes
 * @param kPadded k rounded up to a multiple of 64
 * @param eps of the norm; never read without `norm`
 */
export function quantize(
  options: Static<QuantizeOptions>,
  normWeight: Buffer<f32>,
  magnitudes: Buffer<u32>,
  codes: Buffer<u32>,
  d: Buffer<f32>,
  sums: Buffer<i32>,
  rows: i32,
  k: i32,
  kPadded: i32,
  eps: f32,
): void {
  const floats = shared<f32>(options.workgroupSize);
  const words = shared<u32>(options.workgroupSize);
  const integers = shared<i32>(options.workgroupSize);
  const highest: i32 = options.qmax;
  const lowest: i32 = -options.qmax - 1;
  const inverseQmax: f32 = 1 / options.qmax;
  const noSum: i32 = 0;
  const zero: f32 = 0;

  const whole = options.perTensor ? tensorMagnitude(options, words, magnitudes, rows) : 0;
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const held = registers(4 * options.held, zero);
    const load = open(options, floats, held, normWeight, row, k, eps);
    const magnitude = options.perTensor ? whole : rowMagnitude(options, words, held, load, k);
    // NaN, infinity, or so large that 1/a would be subnormal.
    const bad = magnitude > 0x7e800000;
    const a = math.max(bits.u32ToF32(select(bad, 0, magnitude)), 1e-5);
    const scale: f32 = options.qmax * exactReciprocal(a);

    let sum: i32 = 0;
    eachFour(options, held, kPadded, load, (column: i32, values: Registers<f32>, at: number) => {
      let word: u32 = 0;
      for (const c of unroll(4)) {
        const rounded = convert.f32ToI32(math.nearest(values[at + c]! * scale));
        const above = select(rounded > lowest, rounded, lowest);
        const code = select(bad, 0, select(above < highest, above, highest));
        sum += code;
        word = word | ((convert.i32ToU32(code) & 255) << (8 * c));
      }
      codes[(row * kPadded + column) >> 2] = word;
    });
    const total = workgroupSum(options, integers, noSum, sum);
    if (localId() === 0) {
      sums[row] = total;
      d[row] = bits.u32ToF32(select(bad, 0x7fc00000, bits.f32ToU32(a * inverseQmax)));
    }
  }
}

/**
 * The largest magnitude of each row as bits, max(bits(x) & 0x7fffffff): exact, free of order, NaN above all.
 * The same grid as {@link quantize}.
 *
 * @param normWeight f32[k] when `norm`; otherwise never read
 * @param magnitudes u32[rows]
 */
export function rowMagnitudes(
  options: Static<RowMagnitudesOptions>,
  normWeight: Buffer<f32>,
  magnitudes: Buffer<u32>,
  rows: i32,
  k: i32,
  eps: f32,
): void {
  const floats = shared<f32>(options.workgroupSize);
  const words = shared<u32>(options.workgroupSize);
  const zero: f32 = 0;
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const held = registers(4 * options.held, zero);
    const load = open(options, floats, held, normWeight, row, k, eps);
    const magnitude = rowMagnitude(options, words, held, load, k);
    if (localId() === 0) magnitudes[row] = magnitude;
  }
}

function open(
  options: Static<RowMagnitudesOptions>,
  slots: Shared<f32>,
  held: Registers<f32>,
  normWeight: Buffer<f32>,
  row: i32,
  k: i32,
  eps: f32,
): LoadFour {
  if (options.norm) return openNormalizedRow(options, slots, held, normWeight, row, k, eps);
  return openRow(options, held, row, k);
}

function tensorMagnitude(
  options: Static<WorkgroupOptions>,
  slots: Shared<u32>,
  magnitudes: Buffer<u32>,
  rows: i32,
): u32 {
  const zero: u32 = 0;
  let largest: u32 = 0;
  for (let row = localId(); row < rows; row += options.workgroupSize) {
    largest = select(magnitudes[row]! > largest, magnitudes[row]!, largest);
  }
  return workgroupMax(options, slots, zero, largest);
}

function rowMagnitude(
  options: Static<RowOptions>,
  slots: Shared<u32>,
  held: Registers<f32>,
  load: LoadFour,
  k: i32,
): u32 {
  const zero: u32 = 0;
  let largest: u32 = 0;
  eachFour(options, held, k, load, (_column: i32, values: Registers<f32>, at: number) => {
    for (const c of unroll(4)) {
      const magnitude = bits.f32ToU32(values[at + c]!) & 0x7fffffff;
      largest = select(magnitude > largest, magnitude, largest);
    }
  });
  return workgroupMax(options, slots, zero, largest);
}
