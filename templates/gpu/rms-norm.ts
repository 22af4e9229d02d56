import {
  type Buffer,
  type f32,
  type i32,
  type Registers,
  registers,
  type Static,
  shared,
  unroll,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { openNormalizedRow } from "./normalized-row.ts";
import { eachFour, type RowOptions } from "./row-values.ts";

/**
 * Root mean square normalization of rows: out = weight * (x * (1 / sqrt(mean(x^2) + eps))), x = prologue.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param weight f32[k]
 * @param out f32[rows, k], contiguous; not the memory that the prologue reads
 */
export function rmsNorm(
  options: Static<RowOptions>,
  weight: Buffer<f32>,
  out: Buffer<f32>,
  rows: i32,
  k: i32,
  eps: f32,
): void {
  const slots = shared<f32>(options.workgroupSize);
  const zero: f32 = 0;
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const held = registers(4 * options.held, zero);
    const load = openNormalizedRow(options, slots, held, weight, row, k, eps);
    eachFour(options, held, k, load, (column: i32, values: Registers<f32>, at: number) => {
      for (const c of unroll(4)) {
        if (column + c < k) out[row * k + column + c] = values[at + c]!;
      }
    });
  }
}
