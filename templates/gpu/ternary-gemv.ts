import {
  type Buffer,
  convert,
  dot4I8Packed,
  type f32,
  type i32,
  localId,
  registers,
  type Static,
  select,
  shared,
  type u32,
  u32x4,
  unroll,
  type word,
  workgroupId,
  workgroupIdY,
} from "bitloom/kernel";
import type { OutputOptions } from "./output.ts";
import { workgroupSums } from "./partials.ts";
import { addBlock, blockIndex, blocksOf, blocksOfRow, loadUnaligned } from "./ternary-codes.ts";
import type { WorkgroupOptions } from "./workgroup.ts";

/** What a specialization of {@link ternaryGemv} fixes. */
export interface TernaryGemvOptions extends WorkgroupOptions, OutputOptions {
  /** Scales per group of `groupSize` weights along K, instead of none. */
  grouped: boolean;
  /** With groups: groupSize is a multiple of 16, so that activations load 16 bytes at a time. */
  aligned: boolean;
  /** Output columns of a workgroup, in fours. More of them read the activations less often. */
  columnGroups: 1 | 2 | 4;
  /** Activation rows of a workgroup. Any m works with any. */
  tileRows: 1 | 2 | 4;
  /** Without groups: blocks of each weight row that an invocation loads before it needs the first. */
  ahead: 1 | 2 | 4;
}

/**
 * Ternary matrix multiplication for few rows, out[row, column] = epilogue(sum_k q[row, k] * w[column, k]), bound by
 * reading the weights once.
 *
 * Four neighbouring invocations take the four interleaved weight rows of a block, so that a workgroup reads its
 * 4 * columnGroups rows as contiguous memory, 16 bytes an invocation. Codes 0, 1, 2 stand for w + 1, so
 * sum q * w = sum q * code - sum q. With groups an invocation takes whole groups, and the accumulator is the f32 sum
 * over groups of RN(f32(sum of the group) * scale).
 *
 * Grid: x = ceil(columns / (4 * columnGroups)), y = ceil(m / tileRows).
 *
 * @param codes packed ternary weights of the columns from firstColumn on
 * @param activations i8[m, kPadded], kPadded = ceil(k/64)*64, zero tail; 64 bytes of slack when grouped
 * @param sums i32[m], sum of each row's activation codes; never read when grouped
 * @param scales f32[ceil(columns/4)][ceil(k/groupSize)][4] when grouped; otherwise never read
 * @param out f32[m, n], contiguous
 * @param n columns of `out`
 * @param groupSize weights per group; never read unless grouped
 * @param firstColumn where this dispatch's columns start, a multiple of 4; the epilogue sees columns of `out`
 * @param columns how many columns this dispatch computes
 */
export function ternaryGemv(
  options: Static<TernaryGemvOptions>,
  codes: Buffer<u32x4>,
  activations: Buffer<u32x4>,
  sums: Buffer<i32>,
  scales: Buffer<f32>,
  out: Buffer<f32>,
  m: i32,
  n: i32,
  k: i32,
  groupSize: i32,
  firstColumn: i32,
  columns: i32,
): void {
  const { tileRows, columnGroups, workgroupSize } = options;
  const ahead = options.grouped ? 1 : options.ahead;
  const results = tileRows * columnGroups;
  const local = localId();
  const lane = local & 3;
  const member = local >> 2;
  const members = workgroupSize / 4;
  const stride = ((k + 63) >> 6) << 6;
  const lastGroup = ((columns + 3) >> 2) - 1;
  const firstGroup = workgroupId() * columnGroups;
  const firstRow = workgroupIdY() * tileRows;
  const groups: i32 = options.grouped ? (k + groupSize - 1) / groupSize : 1;
  const groupLength = options.grouped ? groupSize : k;
  const blocks = blocksOfRow(k, groups, groupLength);

  // Rows and columns past the last repeat it; their results are dropped.
  const rowStart = registers(tileRows, stride);
  for (const r of unroll(tileRows)) rowStart[r] = select(firstRow + r < m, firstRow + r, m - 1) * stride;
  const weightRow = registers(columnGroups, lane);
  const weightStart = registers(columnGroups, lane);
  for (const c of unroll(columnGroups)) {
    weightRow[c] = 4 * select(firstGroup + c < lastGroup, firstGroup + c, lastGroup) + lane;
    weightStart[c] = blockIndex(weightRow[c]!, 0, blocks);
  }

  const none: i32 = 0;
  const nothing: u32 = 0;
  const zeros = u32x4(nothing, nothing, nothing, nothing);
  const a = registers(4, zeros);
  const packed = registers(ahead * columnGroups, zeros);
  const plain = registers(results, none);
  const quadruple = registers(results, none);

  /** Loads block `block` of each weight row. */
  const fetchBlocks = (block: i32, at: number): void => {
    for (const c of unroll(columnGroups)) packed[at + c] = codes[weightStart[c]! + 4 * block]!;
  };

  /** Meets loaded blocks with the activations from byte `start` of each row on. */
  const addBlocks = (loaded: number, start: i32): void => {
    for (const r of unroll(tileRows)) {
      for (const f of unroll(4)) {
        const at = rowStart[r]! + start + 16 * f;
        if (options.grouped && !options.aligned) a[f] = loadUnaligned(activations, at);
        else a[f] = activations[at >> 4]!;
      }
      for (const c of unroll(columnGroups)) {
        addBlock(packed[loaded + c]!, a, plain, quadruple, r * columnGroups + c);
      }
      if (options.grouped) {
        // The sum of the activations that meet the block; a tail's padding has code 1, so it cancels here.
        let sum: i32 = 0;
        for (const f of unroll(4)) {
          sum += dot4I8Packed(a[f]!.x, 0x01010101) + dot4I8Packed(a[f]!.y, 0x01010101);
          sum += dot4I8Packed(a[f]!.z, 0x01010101) + dot4I8Packed(a[f]!.w, 0x01010101);
        }
        for (const c of unroll(columnGroups))
          plain[r * columnGroups + c] = plain[r * columnGroups + c]! - sum;
      }
    }
  };

  const zero: f32 = 0;
  const totals = registers(options.grouped ? results : 0, zero);
  if (options.grouped) {
    const groupBlocks = blocksOf(groupLength);
    for (let g = member; g < groups; g += members) {
      const first = g * groupBlocks;
      const last = select(g + 1 < groups, first + groupBlocks, blocks);
      for (const i of unroll(results)) {
        plain[i] = 0;
        quadruple[i] = 0;
      }
      for (let block = first; block < last; block++) {
        fetchBlocks(block, 0);
        addBlocks(0, g * groupLength + ((block - first) << 6));
      }
      for (const c of unroll(columnGroups)) {
        const scale = scales[blockIndex(weightRow[c]!, g, groups)]!;
        for (const r of unroll(tileRows)) {
          const i = r * columnGroups + c;
          totals[i] = totals[i]! + convert.i32ToF32(plain[i]! + (quadruple[i]! >> 2)) * scale;
        }
      }
    }
  } else {
    for (let block = member; block < blocks; block += ahead * members) {
      fetchBlocks(block, 0);
      for (const i of unroll(ahead - 1)) {
        const next = block + (i + 1) * members;
        // Past the row's end the last block is loaded, and not used.
        fetchBlocks(select(next < blocks, next, blocks - 1), (i + 1) * columnGroups);
      }
      addBlocks(0, block << 6);
      for (const i of unroll(ahead - 1)) {
        const next = block + (i + 1) * members;
        if (next < blocks) addBlocks((i + 1) * columnGroups, next << 6);
      }
    }
    for (const i of unroll(results)) plain[i] = plain[i]! + (quadruple[i]! >> 2);
  }

  const store = (sum: word, index: i32, rowLane: i32): void => {
    const r = index / columnGroups;
    const row = firstRow + r;
    const column = 4 * (firstGroup + index - r * columnGroups) + rowLane;
    if (row < m && column < columns) {
      let acc = sum;
      if (!options.grouped) acc -= sums[row]!;
      out[row * n + firstColumn + column] = options.epilogue(acc, row, firstColumn + column);
    }
  };
  if (options.grouped) {
    const partials = shared<f32>(results * workgroupSize);
    workgroupSums(options, 4, results, partials, totals, store);
  } else {
    const partials = shared<i32>(results * workgroupSize);
    workgroupSums(options, 4, results, partials, plain, store);
  }
}
