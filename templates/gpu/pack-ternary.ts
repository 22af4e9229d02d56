import {
  type Buffer,
  bits,
  convert,
  type f32,
  type i32,
  localId,
  math,
  type Static,
  select,
  type u32,
  unroll,
  workgroupCount,
  workgroupId,
} from "bitloom/kernel";
import { exactReciprocal } from "./exact-reciprocal.ts";
import { blockIndex, blocksOf, blocksOfRow } from "./ternary-codes.ts";

export interface PackTernaryOptions {
  workgroupSize: number;
}

/**
 * Quantizes rows of weights to ternary codes in the interleaved block layout:
 * code = clamp(RNE(RN(w * RN(1/alpha))), -1, 1), stored as code + 1 in two bits; 0 where alpha is NaN. Groups are padded
 * to whole blocks and rows to fours with the weight 0.
 *
 * Grid: an invocation takes a word of 16 codes, then every (workgroupCount * workgroupSize)-th.
 *
 * @param weights f32[rows, k]
 * @param scales f32[ceil(rows/4)][groups][4] with groups = ceil(k/groupSize), as bits: alpha of each group
 * @param codes packed rows, as words
 * @param groupSize weights per group; the last of a row may be shorter
 */
export function packTernary(
  options: Static<PackTernaryOptions>,
  weights: Buffer<f32>,
  scales: Buffer<u32>,
  codes: Buffer<u32>,
  rows: i32,
  k: i32,
  groupSize: i32,
): void {
  const groups = (k + groupSize - 1) / groupSize;
  const groupBlocks = blocksOf(groupSize);
  const blocks = blocksOfRow(k, groups, groupSize);
  const words = ((rows + 3) >> 2) * blocks * 16;
  const stride = workgroupCount() * options.workgroupSize;
  for (let at = workgroupId() * options.workgroupSize + localId(); at < words; at += stride) {
    const row = ((at >> 4) / blocks) * 4 + ((at >> 2) & 3);
    const block = (at >> 4) % blocks;
    const group = block / groupBlocks;
    const first = group * groupSize + (block - group * groupBlocks) * 64 + (at & 3) * 4;
    const end = select((group + 1) * groupSize < k, (group + 1) * groupSize, k);
    const alpha = row < rows ? scales[blockIndex(row, group, groups)]! : NAN_BITS;
    const isNumber = alpha < INFINITY_BITS;
    const inverse = exactReciprocal(bits.u32ToF32(select(isNumber, alpha, ONE_BITS)));
    let word: u32 = 0;
    for (const field of unroll(4)) {
      for (const byte of unroll(4)) {
        const i = first + 16 * field + byte;
        let code: i32 = 0;
        if (isNumber && i < end) {
          const rounded = convert.f32ToI32(math.nearest(weights[row * k + i]! * inverse));
          const above = select(rounded > -1, rounded, -1);
          code = select(above < 1, above, 1);
        }
        word = word | (convert.i32ToU32(code + 1) << (8 * byte + 2 * field));
      }
    }
    codes[at] = word;
  }
}

const INFINITY_BITS = 0x7f800000;
const NAN_BITS = 0x7fc00000;
const ONE_BITS = 0x3f800000;
