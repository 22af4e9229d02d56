import { type Buffer, type f32, f32x4, type i32, i32x4, type Static, unroll, v128 } from "bitloom/kernel";

/** How a matrix multiplication turns accumulators into what it stores. */
export interface OutputOptions {
  /** Call `epilogue4` for whole groups of four columns, `epilogue` for the rest. */
  vector: boolean;
  /**
   * The value stored at (row, column). `acc` is f32, or i32 where the kernel says so;
   * `bits.i32ToF32(acc)` then stores the raw i32.
   */
  epilogue: (acc: number, row: i32, column: i32) => f32;
  /** The same for columns column..column+3 (column % 4 = 0); unused unless `vector`. */
  epilogue4: (acc: v128, row: i32, column: i32) => v128;
}

/** Stores out[row, column..column+3] of a contiguous [m, n], dropping columns past the last. */
export function storeColumns(
  options: Static<OutputOptions>,
  lanes: "i32" | "f32",
  out: Buffer<f32>,
  acc: v128,
  row: i32,
  column: i32,
  n: i32,
): void {
  const index = row * n + column;
  if (options.vector && column + 4 <= n) {
    v128.store(out, index, options.epilogue4(acc, row, column));
  } else {
    for (const c of unroll(4)) {
      if (column + c < n) {
        if (lanes === "f32") out[index + c] = options.epilogue(f32x4.extractLane(acc, c), row, column + c);
        else out[index + c] = options.epilogue(i32x4.extractLane(acc, c), row, column + c);
      }
    }
  }
}
