import {
  type Buffer,
  bits,
  type f32,
  f32x4,
  type i32,
  i32x4,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import {
  type DenseWeight,
  decode1,
  decode8,
  decodeTernary1,
  decodeTernary16,
  prepareDecode,
} from "./decode.ts";

/** What a specialization of {@link embedding} fixes. */
export interface EmbeddingOptions {
  /** Element type of the table in memory; "ternary" is the interleaved block layout. */
  weight: DenseWeight | "ternary";
  /** Ternary with scales per group of `groupSize` weights along a row. */
  grouped: boolean;
}

/**
 * Row lookup out[row] = table[ids[row]], decoded to f32. An id outside 0..vocab-1 gives a row of NaN.
 *
 * @param weights [vocab, width], seen as bytes
 * @param scales int8: f32[vocab]; ternary: f32[ceil(vocab/4)][groups][4], one group unless grouped; else never read
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
): void {
  const constants = registers(4, f32x4.splat(0));
  prepareDecode(options.weight, constants);

  const dense = (id: i32, to: i32): void => {
    if (options.weight === "ternary") return;
    const kind = options.weight;
    let scale: f32 = 1;
    if (kind === "int8") scale = scales[id]!;
    const w = registers(2, f32x4.splat(0));
    const whole = width & -8;
    for (let i: i32 = 0; i < whole; i += 8) {
      decode8(kind, constants, weights, id * width + i, w);
      for (const u of unroll(2)) {
        if (kind === "int8") w[u] = f32x4.mul(w[u]!, f32x4.splat(scale));
        v128.store(out, to + i + 4 * u, w[u]!);
      }
    }
    for (let i = whole; i < width; i++) {
      const value = f32x4.extractLane(decode1(kind, constants, weights, id * width + i), 0);
      if (kind === "int8") out[to + i] = value * scale;
      else out[to + i] = value;
    }
  };

  const ternary = (id: i32, to: i32): void => {
    let groups: i32 = 1;
    let groupLength = width;
    if (options.grouped) {
      groups = (width + groupSize - 1) / groupSize;
      groupLength = groupSize;
    }
    const groupBlocks = (groupLength + 63) >> 6;
    const blocks = (groups - 1) * groupBlocks + ((width - (groups - 1) * groupLength + 63) >> 6);
    const w = registers(4, f32x4.splat(0));
    for (let g: i32 = 0; g < groups; g++) {
      const start = to + g * groupLength;
      const rest = width - g * groupLength;
      const length = select(rest < groupLength, rest, groupLength);
      const from = (((id >> 2) * blocks + g * groupBlocks) << 6) + ((id & 3) << 4);
      const scale = scales[((id >> 2) * groups + g) * 4 + (id & 3)]!;
      const whole = length & -64;
      for (let i: i32 = 0; i < whole; i += 64) {
        let bytes = v128.load(weights, from + i);
        for (const j of unroll(4)) {
          decodeTernary16(bytes, w);
          for (const u of unroll(4)) {
            v128.store(out, start + i + 16 * j + 4 * u, f32x4.mul(w[u]!, f32x4.splat(scale)));
          }
          bytes = i32x4.shrU(bytes, 2);
        }
      }
      for (let i = whole; i < length; i++) out[start + i] = decodeTernary1(weights, from, i) * scale;
    }
  };

  for (let row = begin; row < end; row++) {
    const id = ids[row]!;
    const to = row * width;
    if (id < 0 || id >= vocab) {
      for (let i: i32 = 0; i < width; i++) out[to + i] = bits.i32ToF32(0x7fc00000);
    } else if (options.weight === "ternary") {
      ternary(id, to);
    } else {
      dense(id, to);
    }
  }
}
