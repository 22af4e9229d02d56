import {
  type Buffer,
  type f32,
  type i32,
  math,
  type Registers,
  registers,
  type Static,
  shared,
  unroll,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { exp } from "./math.ts";
import { eachFour, openRow, type RowOptions } from "./row-values.ts";
import { workgroupMax, workgroupSum } from "./workgroup.ts";

/** Below every score, and finite: shaders may take infinities for anything. */
export const LOWEST = -3.4e38;

/**
 * Softmax of rows: out = exp(x - max x) / sum exp(x - max x), x = prologue.
 *
 * Grid: a workgroup takes a row, then every workgroupCount-th; `rows` workgroups take one each.
 *
 * @param out f32[rows, k], contiguous; not the memory that the prologue reads
 */
export function softmax(options: Static<RowOptions>, out: Buffer<f32>, rows: i32, k: i32): void {
  const slots = shared<f32>(options.workgroupSize);
  const zero: f32 = 0;
  const lowest: f32 = LOWEST;
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    const held = registers(4 * options.held, zero);
    const load = openRow(options, held, row, k);
    /** The columns of the row among four, with each one's register. */
    const each = (use: (column: i32, values: Registers<f32>, at: number) => void): void =>
      eachFour(options, held, k, load, (column: i32, values: Registers<f32>, at: number) => {
        for (const c of unroll(4)) {
          if (column + c < k) use(column + c, values, at + c);
        }
      });

    let largest = lowest;
    each((_column: i32, values: Registers<f32>, at: number) => {
      largest = math.max(largest, values[at]!);
    });
    largest = workgroupMax(options, slots, lowest, largest);
    let sum: f32 = 0;
    each((_column: i32, values: Registers<f32>, at: number) => {
      values[at] = exp(values[at]! - largest);
      sum += values[at]!;
    });
    const inverse: f32 = 1 / workgroupSum(options, slots, zero, sum);
    each((column: i32, values: Registers<f32>, at: number) => {
      // What is held became exponentials above.
      if (options.held > 0) out[row * k + column] = values[at]! * inverse;
      else out[row * k + column] = exp(values[at]! - largest) * inverse;
    });
  }
}
