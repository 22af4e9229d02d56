import type { f32, i32 } from "bitloom/kernel";

/** How a matrix multiplication turns accumulators into what it stores. */
export interface OutputOptions {
  /**
   * The value stored at (row, column). `acc` is f32, or i32 where the kernel says so; `bits.i32ToF32(acc)` then
   * stores the raw i32.
   */
  epilogue: (acc: number, row: i32, column: i32) => f32;
}
