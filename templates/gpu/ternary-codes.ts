import {
  type Buffer,
  component,
  convert,
  dot4I8Packed,
  type f32,
  type i32,
  type Registers,
  select,
  type u32,
  u32x4,
  unroll,
} from "bitloom/kernel";

/**
 * A block is 16 bytes, one u32x4: 64 weights of a row. Byte j carries weights j, 16+j, 32+j and 48+j at bits 0, 2, 4
 * and 6, so bits 2f and 2f+1 of word j's bytes are the codes that meet activations 16 f + 4 j .. + 3 of the block.
 */
const FIELD = 0x03030303;

/** The index of block `block` of weight row `row` among u32x4; of a group's scale likewise. */
export function blockIndex(row: i32, block: i32, blocks: i32): i32 {
  return ((row >> 2) * blocks + block) * 4 + (row & 3);
}

/** Blocks of one row: `groups` groups of `groupLength` weights along k, the last one maybe shorter. */
export function blocksOfRow(k: i32, groups: i32, groupLength: i32): i32 {
  return (groups - 1) * blocksOf(groupLength) + blocksOf(k - (groups - 1) * groupLength);
}

/** Blocks that so many weights take. */
export function blocksOf(weights: i32): i32 {
  return (weights + 63) >> 6;
}

/**
 * Adds the products of a block's codes 0, 1, 2 with 64 activations: fields 0 and 2 to `plain`, fields 1 and 3,
 * masked where they lie and so worth four times as much, to `quadruple`.
 */
export function addBlock(
  codes: u32x4,
  activations: Registers<u32x4>,
  plain: Registers<i32>,
  quadruple: Registers<i32>,
  at: number,
): void {
  for (const j of unroll(4)) {
    const low = component(codes, j);
    const high = low >> 4;
    plain[at] = plain[at]! + dot4I8Packed(component(activations[0]!, j), low & FIELD);
    quadruple[at] = quadruple[at]! + dot4I8Packed(component(activations[1]!, j), low & (FIELD << 2));
    plain[at] = plain[at]! + dot4I8Packed(component(activations[2]!, j), high & FIELD);
    quadruple[at] = quadruple[at]! + dot4I8Packed(component(activations[3]!, j), high & (FIELD << 2));
  }
}

/** The codes of word `word` in field `field` as four signed bytes -1, 0, 1. */
export function signedCodes(word: u32, field: i32): u32 {
  const codes = (word >> (field << 1)) & FIELD;
  // The high bits keep the subtraction within each byte.
  return ((codes | 0x80808080) - 0x01010101) ^ 0x80808080;
}

/** Sixteen bytes from byte `at` on, which need not be a multiple of 16. */
export function loadUnaligned(buffer: Buffer<u32x4>, at: i32): u32x4 {
  const low = buffer[at >> 4]!;
  const high = buffer[(at >> 4) + 1]!;
  const words = [low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w];
  const two = (at & 8) !== 0;
  const one = (at & 4) !== 0;
  const byTwo = (i: number): u32 => select(two, words[i + 2]!, words[i]!);
  const moved = (i: number): u32 => select(one, byTwo(i + 1), byTwo(i));
  const shift = convert.i32ToU32((at & 3) << 3);
  const joined = (i: number): u32 => (moved(i) >> shift) | ((moved(i + 1) << 1) << (31 - shift));
  return u32x4(joined(0), joined(1), joined(2), joined(3));
}

/** The weight -1, 0 or 1 whose code starts at bit `shift` of a word. */
export function ternaryOf(word: u32, shift: i32): f32 {
  return convert.i32ToF32(convert.u32ToI32((word >> shift) & 3) - 1);
}

/** Weight `i` of row `row`, with `blocks` blocks of each row from word 0 on; `i` counts padding of groups. */
export function ternaryAt(codes: Buffer<u32>, row: i32, blocks: i32, i: i32): f32 {
  const word = codes[blockIndex(row, i >> 6, blocks) * 4 + ((i & 15) >> 2)]!;
  return ternaryOf(word, 8 * (i & 3) + 2 * ((i & 63) >> 4));
}
