import {
  type i32,
  localId,
  type Registers,
  registers,
  type Shared,
  type Static,
  type u32,
  u32x4,
  unroll,
  workgroupBarrier,
} from "bitloom/kernel";
import type { WorkgroupOptions } from "./workgroup.ts";

/** The shape of the tile of results that a workgroup computes. */
export interface TileOptions extends WorkgroupOptions {
  /** Invocations along the tile's rows; with those along its columns they make the workgroup. */
  rowThreads: number;
  /** Rows and columns of each invocation: the tile has rowThreads * edge rows. */
  edge: number;
  /**
   * Whether neighbouring rows of the tile are neighbours in memory, rather than neighbouring elements of a row, so that
   * neighbouring invocations fetch them together. Likewise columns.
   */
  adjacentRows?: boolean;
  adjacentColumns?: boolean;
}

/** Elements of u32x4 that a row takes in shared memory: four and one that keeps rows in different banks. */
const PITCH = 5;

/** Rows of a workgroup's tile. */
export function tileHeight(options: Static<TileOptions>): number {
  return options.rowThreads * options.edge;
}

/** Columns of a workgroup's tile. */
export function tileWidth(options: Static<TileOptions>): number {
  return (options.workgroupSize / options.rowThreads) * options.edge;
}

/** Elements of shared memory that so many rows or columns of a tile take. */
export function stagedLength(lines: number): number {
  return PITCH * lines;
}

/**
 * One step along K: brings 64 bytes of each row and of each column of the tile to shared memory, and calls
 * `multiply` with the 16 bytes of every row and column of this invocation. Row r of the tile's invocation is
 * r * rowThreads + its own place, and columns likewise, so that neighbours touch neighbours.
 *
 * @param fetchRow 16 bytes: quarter 0..3 of a row of the tile
 * @param fetchColumn likewise for a column
 * @param multiply takes the registers of `edge` rows and `edge` columns
 */
export function tileStep(
  options: Static<TileOptions>,
  stagedRows: Shared<u32x4>,
  stagedColumns: Shared<u32x4>,
  fetchRow: (row: i32, quarter: i32) => u32x4,
  fetchColumn: (column: i32, quarter: i32) => u32x4,
  multiply: (rows: Registers<u32x4>, columns: Registers<u32x4>) => void,
): void {
  stage(options, stagedRows, tileHeight(options), options.adjacentRows === true, fetchRow);
  stage(options, stagedColumns, tileWidth(options), options.adjacentColumns === true, fetchColumn);
  workgroupBarrier();
  const none: u32 = 0;
  const zero = u32x4(none, none, none, none);
  const row = rowPlace(options);
  const column = columnPlace(options);
  const rows = registers(options.edge, zero);
  const columns = registers(options.edge, zero);
  const columnThreads = options.workgroupSize / options.rowThreads;
  for (let quarter: i32 = 0; quarter < 4; quarter++) {
    for (const e of unroll(options.edge)) {
      rows[e] = stagedRows[(row + e * options.rowThreads) * PITCH + quarter]!;
      columns[e] = stagedColumns[(column + e * columnThreads) * PITCH + quarter]!;
    }
    multiply(rows, columns);
  }
  workgroupBarrier();
}

/** Brings four quarters of each of so many lines to shared memory. */
function stage(
  options: Static<TileOptions>,
  staged: Shared<u32x4>,
  lines: number,
  adjacent: boolean,
  fetch: (line: i32, quarter: i32) => u32x4,
): void {
  for (let i = localId(); i < 4 * lines; i += options.workgroupSize) {
    const line = adjacent ? i % lines : i >> 2;
    const quarter = adjacent ? i / lines : i & 3;
    staged[line * PITCH + quarter] = fetch(line, quarter);
  }
}

/** Which of the invocations along the tile's rows this is. */
function rowPlace(options: Static<TileOptions>): i32 {
  return localId() / (options.workgroupSize / options.rowThreads);
}
function columnPlace(options: Static<TileOptions>): i32 {
  return localId() % (options.workgroupSize / options.rowThreads);
}

/**
 * Calls `store(row, column, index)` for each result of this invocation, with its place in the tile; `index` is
 * rowIndex * edge + columnIndex.
 */
export function eachResult(
  options: Static<TileOptions>,
  store: (row: i32, column: i32, index: number) => void,
): void {
  const columnThreads = options.workgroupSize / options.rowThreads;
  for (const r of unroll(options.edge)) {
    for (const c of unroll(options.edge)) {
      store(
        rowPlace(options) + r * options.rowThreads,
        columnPlace(options) + c * columnThreads,
        r * options.edge + c,
      );
    }
  }
}
