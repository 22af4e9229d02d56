import { type Buffer, i8x16, type i32, type u8, v128 } from "bitloom/kernel";

/**
 * Moves rows from transformers' packed form (bit pair i of row r is output row i * N/4 + r) to the interleaved
 * block layout. One call serves rows of one bit pair, which are consecutive output rows.
 *
 * @param packed u8[rows, k]
 * @param codes packed rows, of which row 0 of `packed` is row `firstRow`
 * @param invalid set to 1 when a code is 3, which means nothing
 * @param shift twice the bit pair: 0, 2, 4 or 6
 * @param begin first item; an item is a row
 * @param end one past the last item
 */
export function repackTernary(
  packed: Buffer<u8>,
  codes: Buffer<u8>,
  invalid: Buffer<i32>,
  k: i32,
  shift: i32,
  firstRow: i32,
  begin: i32,
  end: i32,
): void {
  const blocks = (k + 63) >> 6;
  let bad = i8x16.splat(0);
  for (let row = begin; row < end; row++) {
    const n = firstRow + row;
    let out = (n >> 2) * blocks * 64 + (n & 3) * 16;
    const last = row * k + k;
    const whole = last - (k & 63);
    for (let i = row * k; i < whole; i += 64) {
      const a = sixteenCodes(packed, i, shift);
      const b = sixteenCodes(packed, i + 16, shift);
      const c = sixteenCodes(packed, i + 32, shift);
      const d = sixteenCodes(packed, i + 48, shift);
      const block = v128.or(v128.or(a, i8x16.shl(b, 2)), v128.or(i8x16.shl(c, 4), i8x16.shl(d, 6)));
      // A pair is 3 where both its bits are set.
      bad = v128.or(bad, v128.and(v128.and(block, i8x16.shrU(block, 1)), i8x16.splat(0x55)));
      v128.store(codes, out, block);
      out += 64;
    }
    if (whole < last) {
      for (let j = 0; j < 16; j++) {
        const block =
          codeOrPad(packed, whole + j, last, shift) |
          (codeOrPad(packed, whole + j + 16, last, shift) << 2) |
          (codeOrPad(packed, whole + j + 32, last, shift) << 4) |
          (codeOrPad(packed, whole + j + 48, last, shift) << 6);
        if ((block & (block >> 1) & 0x55) !== 0) invalid[0] = 1;
        codes[out + j] = block;
      }
    }
  }
  if (v128.anyTrue(bad)) invalid[0] = 1;
}

function sixteenCodes(packed: Buffer<u8>, at: i32, shift: i32): v128 {
  return v128.and(i8x16.shrU(v128.load(packed, at), shift), i8x16.splat(3));
}

function codeOrPad(packed: Buffer<u8>, at: i32, last: i32, shift: i32): i32 {
  if (at >= last) return 1;
  return (packed[at]! >> shift) & 3;
}
