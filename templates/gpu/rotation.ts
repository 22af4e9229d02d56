import { type i32, select } from "bitloom/kernel";

/** Where the row of a position starts in a table [length, half]; positions outside the table are clamped to it. */
export function tableRow(position: i32, length: i32, half: i32): i32 {
  const clamped = select(position < length, position, length - 1);
  return select(clamped < 0, 0, clamped) * half;
}
