import {
  type Buffer,
  bits,
  type f32,
  type i32,
  localId,
  type Static,
  select,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";

/** The row of the table that an id adds to; one outside 0..vocabulary-1 spoils row 0. */
function tableRow(id: i32, vocabulary: i32): i32 {
  return select(id >= 0 && id < vocabulary, id, 0);
}

/**
 * Links the rows of g that add to the same row of a table, in ascending order, so that {@link embeddingGradient} adds
 * them without atomic operations and in an order that the ids alone decide.
 *
 * Grid: an invocation takes a row, then every so-many-th.
 *
 * @param ids i32[rows]
 * @param links i32[rows, 2]: the next earlier such row, or -1, and the next later one, or `rows`
 */
export function embeddingGradientLinks(
  options: Static<{ workgroupSize: number }>,
  ids: Buffer<i32>,
  links: Buffer<i32>,
  rows: i32,
  vocabulary: i32,
): void {
  const stride = workgroupCount() * options.workgroupSize;
  for (let row = workgroupId() * options.workgroupSize + localId(); row < rows; row += stride) {
    const own = tableRow(ids[row]!, vocabulary);
    let earlier = row - 1;
    while (earlier >= 0 && tableRow(ids[earlier]!, vocabulary) !== own) earlier -= 1;
    let later = row + 1;
    while (later < rows && tableRow(ids[later]!, vocabulary) !== own) later += 1;
    links[2 * row] = earlier;
    links[2 * row + 1] = later;
  }
}

/**
 * Row ids[r] of a table = the sum of all rows r of g with that id, in ascending order. An id outside 0..vocabulary-1
 * makes row 0 NaN. Leaves rows that no id names as they are.
 *
 * Grid: a workgroup takes a row of g, then every workgroupCount-th; `rows` workgroups take one each. The first row with
 * an id does the work of all.
 *
 * @param g f32[rows, width] with gStride elements between rows
 * @param ids i32[rows]
 * @param links i32[rows, 2] of {@link embeddingGradientLinks}
 * @param out f32[vocabulary, width], contiguous
 */
export function embeddingGradient(
  options: Static<{ workgroupSize: number }>,
  g: Buffer<f32>,
  ids: Buffer<i32>,
  links: Buffer<i32>,
  out: Buffer<f32>,
  rows: i32,
  vocabulary: i32,
  width: i32,
  gStride: i32,
): void {
  for (let row = workgroupId(); row < rows; row += workgroupCount()) {
    if (links[2 * row]! < 0) {
      const to = tableRow(ids[row]!, vocabulary) * width;
      for (let i = localId(); i < width; i += options.workgroupSize) {
        let sum: f32 = 0;
        let from = row;
        while (from < rows) {
          const id = ids[from]!;
          const term = bits.f32ToU32(g[from * gStride + i]!);
          sum += bits.u32ToF32(select(id >= 0 && id < vocabulary, term, 0x7fc00000));
          from = links[2 * from + 1]!;
        }
        out[to + i] = sum;
      }
    }
  }
}
