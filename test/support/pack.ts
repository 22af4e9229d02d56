/** Reference packing of codes into the physical layouts that kernels read, one obvious loop each. */

/** Lengths of the groups along K; ungrouped is one group. */
export function groupLengths(k: number, groupSize = k): number[] {
  const lengths: number[] = [];
  for (let start = 0; start < k; start += groupSize) lengths.push(Math.min(groupSize, k - start));
  return lengths;
}

/** Blocks of 64 codes that one row takes, each group padded to whole blocks. */
export function blocksPerRow(k: number, groupSize = k): number {
  return groupLengths(k, groupSize).reduce((sum, length) => sum + Math.ceil(length / 64), 0);
}

export function padTo(count: number, multiple: number): number {
  return Math.ceil(count / multiple) * multiple;
}

/**
 * Ternary codes [n, k] of -1, 0, 1 in the interleaved block layout: the 16 bytes of block (row, b) start at
 * ((row >> 2) * blocks + b) * 64 + (row & 3) * 16, byte j carrying code + 1 of weights j, 16+j, 32+j, 48+j at
 * bits 0, 2, 4, 6. Padding in rows and in groups is 1, the weight 0.
 */
export function packTernaryCodes(codes: Int8Array, n: number, k: number, groupSize = k): Uint8Array {
  const blocks = blocksPerRow(k, groupSize);
  const packed = new Uint8Array(padTo(n, 4) * blocks * 16).fill(0b01010101);
  for (let row = 0; row < n; row++) {
    let block = 0;
    let start = 0;
    for (const length of groupLengths(k, groupSize)) {
      for (let i = 0; i < length; i++) {
        const at = ((row >> 2) * blocks + block + (i >> 6)) * 64 + (row & 3) * 16 + (i & 15);
        const shift = ((i & 63) >> 4) * 2;
        packed[at] = (packed[at]! & ~(3 << shift)) | ((codes[row * k + start + i]! + 1) << shift);
      }
      block += Math.ceil(length / 64);
      start += length;
    }
  }
  return packed;
}

/** Scales of [n, groups] (row-major) as the f32[n/4][groups][4] that kernels read; padding 0. */
export function packGroupScales(scales: Float32Array, n: number, groups: number): Float32Array {
  const packed = new Float32Array(groups * padTo(n, 4));
  for (let row = 0; row < n; row++) {
    for (let g = 0; g < groups; g++)
      packed[((row >> 2) * groups + g) * 4 + (row & 3)] = scales[row * groups + g]!;
  }
  return packed;
}

/** Activation codes [m, k] with rows padded to a multiple of 64 by zeros, 64 bytes of slack filled with junk. */
export function padActivations(codes: Int8Array, m: number, k: number): Int8Array {
  const stride = padTo(k, 64);
  const padded = new Int8Array(m * stride + 64);
  padded.fill(77, m * stride);
  for (let row = 0; row < m; row++) padded.set(codes.subarray(row * k, (row + 1) * k), row * stride);
  return padded;
}
