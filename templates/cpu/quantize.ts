import type { Buffer, f32, i8, i32, Static, v128 } from "bitloom/kernel";

/** What a specialization of {@link quantize} fixes. */
export interface QuantizeOptions {
  /** 2^(bits-1) - 1: 127 for 8 bits. Codes lie in -(qmax+1)..qmax. */
  qmax: number;
  /** Quantize rms_norm(prologue, normWeight, eps) instead of the prologue itself. */
  norm: boolean;
  /** One absmax over all rows instead of one per row. */
  perTensor: boolean;
  /** Call `prologue4` four columns at a time, `prologue` for the rest. */
  vector: boolean;
  /** The value at (row, column). */
  prologue: (row: i32, column: i32) => f32;
  /** The values at columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  prologue4: (row: i32, column: i32) => v128;
}

/**
 * Absmax quantization of rows to signed codes with a multiplicative dequantization scale.
 *
 * @param normWeight f32[k] when `norm`; otherwise never read
 * @param codes i8[rows, kPadded], the tail of each row zeroed
 * @param d f32[rows], value = code * d; NaN for a row with NaN, Inf or a magnitude above 2^126
 * @param sums i32[rows], the sum of each row's codes
 * @param scratch per thread: f32[ceil(k/4)*4]
 * @param eps of the norm; never read without `norm`
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function quantize(
  options: Static<QuantizeOptions>,
  normWeight: Buffer<f32>,
  codes: Buffer<i8>,
  d: Buffer<f32>,
  sums: Buffer<i32>,
  scratch: Buffer<f32>,
  rows: i32,
  k: i32,
  kPadded: i32,
  eps: f32,
  begin: i32,
  end: i32,
): void {}
