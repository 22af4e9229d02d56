import {
  type Buffer,
  type f32,
  f32x4,
  type i8,
  type i16,
  i16x8,
  type i32,
  i32x4,
  registers,
  type Static,
  select,
  type u8,
  unroll,
  v128,
} from "bitloom/kernel";
import { highHalves, laneSumI32, lowHalves, sumI32x4 } from "./lanes.ts";
import { type OutputOptions, storeColumns } from "./store-columns.ts";

/** What a specialization of {@link ternaryMatmul} fixes. */
export interface TernaryMatmulOptions extends OutputOptions {
  /** Use `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
  relaxed: boolean;
  /** Scales per group of `groupSize` weights along K, instead of none. */
  grouped: boolean;
  /** No activation is -128. */
  symmetric: boolean;
  /** Activation rows per pass over the weights: 1 (GEMV) or 4 (GEMM). Any m works with either. */
  tileRows: 1 | 4;
}

/** Two columns in one i16, w + 2^14 w', are the codes c + 2^14 c' less this. */
const COMBINED_OFFSET = 0x4001;
/**
 * A lane sums two products for eight weights. In so many blocks of 64 the sums of products of -128..128, and of
 * -127..127 where activations are symmetric, stay below 2^13.
 */
const MOST_COMBINED_BLOCKS = 3;
const MOST_SYMMETRIC_BLOCKS = 4;

/**
 * Ternary matrix multiplication out[row, column] = epilogue(sum_k q[row, k] * w[column, k]).
 *
 * The codes 0, 1, 2 stand for w + 1, so sum q * w = sum q * code - sum q. With groups the accumulator is the
 * f32 sum over groups, ascending, of RN(f32(sum of the group) * scale). Integers are exact: products lie in
 * -256..254, so 131,072 of them, with the factor 64 that some carry, lie in -2^31..2^31 - 1.
 *
 * @param codes packed ternary weights [n, k] in the interleaved block layout, 16-byte aligned
 * @param activations i8[m, kPadded], row stride kPadded = ceil(k/64)*64, zero tail, 64 bytes of slack
 * @param sums i32[m], sum of each row's activation codes; never read when grouped
 * @param scales f32[ceil(n/4)][ceil(k/groupSize)][4] when grouped; otherwise never read
 * @param out f32[m, n], contiguous
 * @param scratch per thread, i16; with blocks = sum over groups of ceil(groupLength/64) these are for one row
 *   (relaxed ? 0 : 64 * blocks) + (grouped ? 8 * groups : 0), and for four rows (relaxed ? (grouped ? 32 * groups : 0) :
 *   128 * blocks)
 * @param groupSize weights per group; never read unless grouped
 * @param begin first item; an item is a group of 4 output columns, ceil(n/4) in all
 * @param end one past the last item
 */
export function ternaryMatmul(
  options: Static<TernaryMatmulOptions>,
  codes: Buffer<u8>,
  activations: Buffer<i8>,
  sums: Buffer<i32>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  scratch: Buffer<i16>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  begin: i32,
  end: i32,
): void {
  const stride = ((k + 63) >> 6) << 6;
  let groups: i32 = 1;
  let groupLength = k;
  if (options.grouped) {
    groups = (k + groupSize - 1) / groupSize;
    groupLength = groupSize;
  }
  const blocks = (groups - 1) * ((groupLength + 63) >> 6) + ((k - (groups - 1) * groupLength + 63) >> 6);
  const corrections = options.relaxed ? 0 : 64 * blocks;
  const mostCombined = options.symmetric ? MOST_SYMMETRIC_BLOCKS : MOST_COMBINED_BLOCKS;

  // Constants live in locals, so that engines keep them in registers; in the loops they would be rebuilt.
  const zero = i32x4.splat(0);
  const field = i32x4.splat(0x03030303);
  const field4 = i32x4.splat(0x0c0c0c0c);
  const lane = i32x4.splat(0x00030003);
  const lane4 = i32x4.splat(0x000c000c);
  const lane16 = i32x4.splat(0x00300030);
  const lane64 = i32x4.splat(0x00c000c0);

  const blocksOf = (g: i32): i32 => {
    const rest = k - g * groupLength;
    return (select(rest < groupLength, rest, groupLength) + 63) >> 6;
  };

  /** Where a tile's row starts; rows past the last repeat it and their results are dropped. */
  const rowStart = (row: i32): i32 => select(row < m, row, m - 1) * stride;

  /**
   * Fills the scratch for a tile of rows: one row without relaxed SIMD as i16, even bytes of 16 and then odd
   * ones, each 64 codes taking 8 vectors; with groups the sums of the activations that meet each group's
   * blocks. A tail block meets activations of the next group too: its padding has code 1, and the sum
   * takes them away again.
   */
  const prepare = (row: i32): void => {
    for (const r of unroll(options.tileRows)) {
      let to: i32 = r * 64 * blocks;
      for (let g: i32 = 0; g < groups; g++) {
        let total = zero;
        const start = rowStart(row + r) + g * groupLength;
        const stop = start + (blocksOf(g) << 6);
        for (let q = start; q < stop; q += 64) {
          for (const j of unroll(4)) {
            const x = v128.load(activations, q + 16 * j);
            if (options.grouped) {
              total = i32x4.add(total, i32x4.extaddPairwiseI16x8S(i16x8.extaddPairwiseI8x16S(x)));
            }
            if (!options.relaxed) {
              // The codes are masked in place, worth 4^j times themselves: all products get factor 64.
              const shift = 6 - 2 * j;
              v128.store(scratch, to + 8 * j, i16x8.shrS(i16x8.shl(x, 8), 8 - shift));
              v128.store(scratch, to + 8 * j + 32, i16x8.shl(i16x8.shrS(x, 8), shift));
            }
          }
          to += 64;
        }
        if (options.grouped) {
          v128.store(scratch, corrections + (g * options.tileRows + r) * 8, i32x4.splat(laneSumI32(total)));
        }
      }
    }
  };

  /** Stores columns column..column+3 of one row. */
  const store = (acc: v128, row: i32, column: i32): void => {
    if (options.grouped) storeColumns(options, "f32", out, acc, row, column, n);
    else storeColumns(options, "i32", out, acc, row, column, n);
  };

  /** The same where `total` is of offset codes, without the row's sum unless grouped. */
  const finish = (total: v128, row: i32, column: i32): void => {
    if (options.grouped) store(total, row, column);
    else store(i32x4.sub(total, i32x4.splat(sums[row]!)), row, column);
  };

  /** One row times four columns: memory is read strictly forward, every 16 bytes of codes once or twice. */
  const vectorTile = (row: i32, item: i32): void => {
    const column = item << 2;
    let from = (item * blocks) << 6;
    let widened: i32 = 0;
    let total = zero;
    for (let g: i32 = 0; g < groups; g++) {
      const limit = from + (blocksOf(g) << 6);
      let dots = zero;
      if (options.relaxed) {
        const plain = registers(4, zero);
        const quadruple = registers(4, zero);
        let q = rowStart(row) + g * groupLength;
        for (let w = from; w < limit; w += 64) {
          // Fields 0 and 1, then 2 and 3: two loads of the codes cost less than registers do.
          const a0 = v128.load(activations, q);
          const a1 = v128.load(activations, q + 16);
          for (const c of unroll(4)) {
            const x = v128.load(codes, w + 16 * c);
            plain[c] = i32x4.relaxedDotI8x16I7x16AddS(a0, v128.and(x, field), plain[c]!);
            quadruple[c] = i32x4.relaxedDotI8x16I7x16AddS(a1, v128.and(x, field4), quadruple[c]!);
          }
          const a2 = v128.load(activations, q + 32);
          const a3 = v128.load(activations, q + 48);
          for (const c of unroll(4)) {
            const x = i32x4.shrU(v128.load(codes, w + 16 * c), 4);
            plain[c] = i32x4.relaxedDotI8x16I7x16AddS(a2, v128.and(x, field), plain[c]!);
            quadruple[c] = i32x4.relaxedDotI8x16I7x16AddS(a3, v128.and(x, field4), quadruple[c]!);
          }
          q += 64;
        }
        for (const c of unroll(4)) plain[c] = i32x4.add(plain[c]!, i32x4.shrS(quadruple[c]!, 2));
        dots = sumI32x4(plain[0]!, plain[1]!, plain[2]!, plain[3]!);
      } else {
        const acc = registers(4, zero);
        const x = registers(4, zero);
        let q = widened;
        const addField = (index: i32, mask: v128): void => {
          const a = v128.load(scratch, index);
          for (const c of unroll(4)) acc[c] = i32x4.add(acc[c]!, i32x4.dotI16x8S(a, v128.and(x[c]!, mask)));
        };
        for (let w = from; w < limit; w += 64) {
          // The breaks are never taken. They split the body, which engines that order instructions
          // themselves would otherwise interleave until most of it is spills.
          for (const c of unroll(4)) x[c] = v128.load(codes, w + 16 * c);
          addField(q, lane);
          addField(q + 8, lane4);
          if (w > limit) break;
          addField(q + 16, lane16);
          addField(q + 24, lane64);
          if (w > limit) break;
          for (const c of unroll(4)) x[c] = i16x8.shrU(x[c]!, 8);
          addField(q + 32, lane);
          addField(q + 40, lane4);
          if (w > limit) break;
          addField(q + 48, lane16);
          addField(q + 56, lane64);
          q += 64;
        }
        widened = q;
        dots = i32x4.shrS(sumI32x4(acc[0]!, acc[1]!, acc[2]!, acc[3]!), 6);
      }
      from = limit;
      if (options.grouped) {
        const sum = f32x4.convertI32x4S(i32x4.sub(dots, v128.load(scratch, corrections + g * 8)));
        total = f32x4.add(total, f32x4.mul(sum, v128.load(scales, column * groups + 4 * g)));
      } else {
        total = dots;
      }
    }
    finish(total, row, column);
  };

  /** Four rows times four columns, two columns at a time: eight accumulators leave registers for the rest. */
  const matrixTile = (row: i32, item: i32): void => {
    const column = item << 2;
    const start = registers(4, stride);
    for (const r of unroll(4)) start[r] = rowStart(row + r);
    // totals[2 * half + pair]: rows 2 * pair, 2 * pair + 1 and columns 2 * half, 2 * half + 1.
    const totals = registers(4, zero);
    for (const half of unroll(2)) {
      let from = (item * blocks) << 6;
      for (let g: i32 = 0; g < groups; g++) {
        const limit = from + (blocksOf(g) << 6);
        const acc = registers(8, zero);
        let q = g * groupLength;
        for (let w = from; w < limit; w += 64) {
          let x0 = v128.load(codes, w + 32 * half);
          let x1 = v128.load(codes, w + 32 * half + 16);
          for (const j of unroll(4)) {
            const u0 = v128.and(x0, field);
            const u1 = v128.and(x1, field);
            for (const r of unroll(4)) {
              const a = v128.load(activations, start[r]! + q + 16 * j);
              acc[2 * r] = i32x4.relaxedDotI8x16I7x16AddS(a, u0, acc[2 * r]!);
              acc[2 * r + 1] = i32x4.relaxedDotI8x16I7x16AddS(a, u1, acc[2 * r + 1]!);
            }
            x0 = i32x4.shrU(x0, 2);
            x1 = i32x4.shrU(x1, 2);
          }
          q += 64;
        }
        from = limit;
        for (const pair of unroll(2)) {
          const dots = sumI32x4(acc[4 * pair]!, acc[4 * pair + 1]!, acc[4 * pair + 2]!, acc[4 * pair + 3]!);
          if (options.grouped) {
            const first = v128.load(scratch, corrections + g * 32 + 16 * pair);
            const second = v128.load(scratch, corrections + g * 32 + 16 * pair + 8);
            const sum = f32x4.convertI32x4S(i32x4.sub(dots, lowHalves(first, second)));
            const scale = v128.load64Splat(scales, column * groups + 4 * g + 2 * half);
            totals[2 * half + pair] = f32x4.add(totals[2 * half + pair]!, f32x4.mul(sum, scale));
          } else {
            totals[2 * half + pair] = dots;
          }
        }
      }
    }
    for (const pair of unroll(2)) {
      const even = row + 2 * pair;
      if (even < m) finish(lowHalves(totals[pair]!, totals[2 + pair]!), even, column);
      if (even + 1 < m) finish(highHalves(totals[pair]!, totals[2 + pair]!), even + 1, column);
    }
  };

  /** The weights w of columns 0 and 2 of an item with those w' of columns 1 and 3, as w + 2^14 w'. */
  const combineColumns = (item: i32): void => {
    const offset = i16x8.splat(COMBINED_OFFSET);
    let from = (item * blocks) << 6;
    for (let to: i32 = 0; to < 128 * blocks; to += 128) {
      for (const pair of unroll(2)) {
        let x = v128.load(codes, from + 32 * pair);
        let y = v128.load(codes, from + 32 * pair + 16);
        for (const j of unroll(4)) {
          const u = v128.and(x, field);
          const v = v128.and(y, field);
          const low = v128.or(i16x8.extendLowI8x16U(u), i16x8.shl(i16x8.extendLowI8x16U(v), 14));
          const high = v128.or(i16x8.extendHighI8x16U(u), i16x8.shl(i16x8.extendHighI8x16U(v), 14));
          v128.store(scratch, to + 32 * j + 8 * pair, i16x8.sub(low, offset));
          v128.store(scratch, to + 32 * j + 8 * pair + 16, i16x8.sub(high, offset));
          x = i16x8.shrU(x, 2);
          y = i16x8.shrU(y, 2);
        }
      }
      from += 64;
    }
  };

  /**
   * Four rows times four columns, two columns in each product. A lane has the sum of column 0 or 2 and, from bit 14 on,
   * that of column 1 or 3, which are taken apart while the lower still fits.
   */
  const combinedTile = (row: i32, item: i32): void => {
    const column = item << 2;
    const lowOffset = i32x4.splat(1 << 13);
    const start = registers(4, stride);
    for (const r of unroll(4)) start[r] = rowStart(row + r);
    const totals = registers(4, zero);
    let w: i32 = 0;
    for (let g: i32 = 0; g < groups; g++) {
      const limit = w + blocksOf(g) * 128;
      let q = g * groupLength;
      const sums = registers(4, zero);
      while (w < limit) {
        const safe = w + mostCombined * 128;
        const stop = select(safe < limit, safe, limit);
        const acc = registers(8, zero);
        const from = registers(4, q);
        for (const r of unroll(4)) from[r] = start[r]! + q;
        const addEight = (step: number): void => {
          const even = v128.load(scratch, w + 16 * step);
          const odd = v128.load(scratch, w + 16 * step + 8);
          for (const r of unroll(4)) {
            const a = i16x8.load8x8S(activations, from[r]! + 8 * step);
            acc[2 * r] = i32x4.add(acc[2 * r]!, i32x4.dotI16x8S(a, even));
            acc[2 * r + 1] = i32x4.add(acc[2 * r + 1]!, i32x4.dotI16x8S(a, odd));
          }
        };
        while (w < stop) {
          addEight(0);
          // Never taken, but engines that order instructions themselves keep fewer values alive across it.
          if (w > stop) break;
          addEight(1);
          w += 32;
          for (const r of unroll(4)) from[r] = from[r]! + 16;
        }
        q += mostCombined * 64;
        for (const r of unroll(4)) {
          const even = i32x4.shrS(i32x4.add(acc[2 * r]!, lowOffset), 14);
          const odd = i32x4.shrS(i32x4.add(acc[2 * r + 1]!, lowOffset), 14);
          const lowEven = i32x4.sub(acc[2 * r]!, i32x4.shl(even, 14));
          const lowOdd = i32x4.sub(acc[2 * r + 1]!, i32x4.shl(odd, 14));
          sums[r] = i32x4.add(sums[r]!, sumI32x4(lowEven, even, lowOdd, odd));
        }
      }
      for (const r of unroll(4)) {
        if (options.grouped) {
          const scale = v128.load(scales, column * groups + 4 * g);
          totals[r] = f32x4.add(totals[r]!, f32x4.mul(f32x4.convertI32x4S(sums[r]!), scale));
        } else {
          totals[r] = sums[r]!;
        }
      }
    }
    for (const r of unroll(4)) if (row + r < m) store(totals[r]!, row + r, column);
  };

  const tile = (row: i32, item: i32): void => {
    if (options.tileRows === 1) vectorTile(row, item);
    else if (options.relaxed) matrixTile(row, item);
    else combinedTile(row, item);
  };

  if (options.relaxed ? !options.grouped : options.tileRows === 4) {
    // The columns' codes stay in the first cache while all rows pass.
    for (let item = begin; item < end; item++) {
      if (!options.relaxed) combineColumns(item);
      for (let row: i32 = 0; row < m; row += options.tileRows) tile(row, item);
    }
  } else {
    for (let row: i32 = 0; row < m; row += options.tileRows) {
      prepare(row);
      for (let item = begin; item < end; item++) tile(row, item);
    }
  }
}
