import type { Buffer, f32, i32, Static, u8 } from "bitloom/kernel";

/** What a specialization of {@link embedding} fixes. */
export interface EmbeddingOptions {
  /** Element type of the table in memory; "ternary" is the interleaved block layout. */
  weight: "f32" | "f16" | "bf16" | "int8" | "ternary";
  /** Ternary with scales per group of `groupSize` weights along a row. */
  grouped: boolean;
}

/**
 * Row lookup out[row] = table[ids[row]], decoded to f32. An id outside 0..vocab-1 gives a row of NaN.
 *
 * @param weights [vocab, width], seen as bytes
 * @param scales int8: f32[vocab]; ternary: f32[ceil(vocab/4)*4], or [groups][ceil(vocab/4)*4] grouped; else never read
 * @param ids i32[rows]
 * @param out f32[rows, width], contiguous
 * @param groupSize weights per group; never read unless grouped
 * @param begin first item; an item is a row of ids
 * @param end one past the last item
 */
export function embedding(
  options: Static<EmbeddingOptions>,
  weights: Buffer<u8>,
  scales: Buffer<f32>,
  ids: Buffer<i32>,
  out: Buffer<f32>,
  vocab: i32,
  width: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {}
