import {
  type Buffer,
  convert,
  type f32,
  type i32,
  inverseSqrt,
  type Registers,
  type Shared,
  type Static,
  unroll,
} from "bitloom/kernel";
import { eachFour, eachHeldFour, type LoadFour, openRow, type RowOptions } from "./row-values.ts";
import { workgroupSum } from "./workgroup.ts";

/**
 * Like `openRow`, for root mean square normalized values: weight * (x * (1 / sqrt(mean(x^2) + eps))). `slots` has
 * room for workgroupSize elements.
 */
export function openNormalizedRow(
  options: Static<RowOptions>,
  slots: Shared<f32>,
  held: Registers<f32>,
  weight: Buffer<f32>,
  row: i32,
  k: i32,
  eps: f32,
): LoadFour {
  const load = openRow(options, held, row, k);
  const zero: f32 = 0;
  let squares: f32 = 0;
  eachFour(options, held, k, load, (_column: i32, values: Registers<f32>, at: number) => {
    for (const c of unroll(4)) squares += values[at + c]! * values[at + c]!;
  });
  const mean = workgroupSum(options, slots, zero, squares) / convert.i32ToF32(k);
  const factor = inverseSqrt(mean + eps);
  const normalize = (column: i32, values: Registers<f32>, at: number): void => {
    for (const c of unroll(4)) {
      if (column + c < k) values[at + c] = weight[column + c]! * (values[at + c]! * factor);
    }
  };
  eachHeldFour(options, held, k, normalize);
  return (column: i32, to: Registers<f32>, at: number): void => {
    load(column, to, at);
    normalize(column, to, at);
  };
}
