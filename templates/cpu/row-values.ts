import { type Buffer, type f32, type i32, type Static, v128 } from "bitloom/kernel";

/** Where a kernel that works on rows takes its values from. */
export interface RowOptions {
  /** Call `prologue4` four columns at a time, `prologue` for the rest. */
  vector: boolean;
  /** The value at (row, column). */
  prologue: (row: i32, column: i32) => f32;
  /** The values at columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  prologue4: (row: i32, column: i32) => v128;
}

/** Writes the k values of a row to `to`, from element `start` on. */
export function evaluateRow(
  options: Static<RowOptions>,
  to: Buffer<f32>,
  start: i32,
  row: i32,
  k: i32,
): void {
  let done: i32 = 0;
  if (options.vector) {
    done = k & -4;
    for (let i: i32 = 0; i < done; i += 4) v128.store(to, start + i, options.prologue4(row, i));
  }
  for (let i = done; i < k; i++) to[start + i] = options.prologue(row, i);
}
