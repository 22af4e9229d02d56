import { type f32, type i32, localId, type Registers, registers, type Static, unroll } from "bitloom/kernel";
import type { WorkgroupOptions } from "./workgroup.ts";

/** Where a kernel whose workgroups take a row each has its values from. */
export interface RowOptions extends WorkgroupOptions {
  /** The value at (row, column). */
  prologue: (row: i32, column: i32) => f32;
  /**
   * How many times four values an invocation keeps in registers: ceil(k / (4 * workgroupSize)). With 0, for rows
   * too long for that, each pass over the row computes its values anew.
   */
  held: number;
}

/** Puts the values of columns column..column+3 into `to[at..at+3]`; column % 4 = 0, and 0 from column k on. */
export type LoadFour = (column: i32, to: Registers<f32>, at: number) => void;

/** Reads a row into the registers that hold it, if they do; what is returned computes its values. */
export function openRow(options: Static<RowOptions>, held: Registers<f32>, row: i32, k: i32): LoadFour {
  const load = (column: i32, to: Registers<f32>, at: number): void => {
    for (const c of unroll(4)) {
      to[at + c] = 0;
      if (column + c < k) to[at + c] = options.prologue(row, column + c);
    }
  };
  eachHeldFour(options, held, k, load);
  return load;
}

/** Calls `body` with every four held columns below `end`. */
export function eachHeldFour(
  options: Static<RowOptions>,
  held: Registers<f32>,
  end: i32,
  body: (column: i32, values: Registers<f32>, at: number) => void,
): void {
  for (const i of unroll(options.held)) {
    const column = 4 * (localId() + options.workgroupSize * i);
    if (column < end) body(column, held, 4 * i);
  }
}

/** Calls `body` with every four columns below `end` that this invocation has of a row. */
export function eachFour(
  options: Static<RowOptions>,
  held: Registers<f32>,
  end: i32,
  load: LoadFour,
  body: (column: i32, values: Registers<f32>, at: number) => void,
): void {
  if (options.held > 0) {
    eachHeldFour(options, held, end, body);
  } else {
    for (let column = 4 * localId(); column < end; column += 4 * options.workgroupSize) {
      const zero: f32 = 0;
      const values = registers(4, zero);
      load(column, values, 0);
      body(column, values, 0);
    }
  }
}
