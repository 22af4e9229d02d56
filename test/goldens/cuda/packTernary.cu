using i32 = int;
using u32 = unsigned int;

namespace packTernary {

// RN(2^47 / m), 2^23 <= m < 2^24, from a proposal less than 128 off.
static __device__ i32 exact_reciprocal_nearestQuotient(i32 m, i32 proposal) {
  const i32 half = m >> 1;
  i32 q = proposal;
  i32 rest = 0u - u32(q) * m;
  while (rest > half) {
    rest -= u32(m);
    q += 1u;
  }
  while (rest < i32(0u - half)) {
    rest += u32(m);
    q -= 1u;
  }
  return q;
}

// Quantizes rows of weights to ternary codes in the interleaved block layout:
extern "C" __global__ void __launch_bounds__(32) packTernary(
  const float* __restrict__ weights,
  const u32* __restrict__ scales,
  u32* __restrict__ codes,
  const i32 rows,
  const i32 k,
  const i32 groupSize
) {
  const i32 groups = i32(u32(k) + groupSize - 1u) / groupSize;
  const i32 groupBlocks = i32(groupSize + 63u) >> 6;
  const i32 weights_1 = k - (groups - 1u) * groupSize;
  const i32 blocks = (groups - 1u) * (i32(groupSize + 63u) >> 6) + (i32(weights_1 + 63u) >> 6);
  const i32 words = u32(i32(rows + 3u) >> 2) * blocks * 16u;
  const i32 stride = gridDim.x * 32u;
  for (i32 at = blockIdx.x * 32u + threadIdx.x; at < words; at += u32(stride)) {
    const i32 row = (at >> 4) / blocks * 4u + ((at >> 2) & 3);
    const i32 block = (at >> 4) % blocks;
    const i32 group = block / groupBlocks;
    const i32 first = u32(group) * groupSize + (block - u32(group) * groupBlocks) * 64u + (at & 3) * 4u;
    const i32 end = i32((group + 1u) * groupSize) < k ? i32((group + 1u) * groupSize) : k;
    const u32 alpha = row < rows ? scales[(u32(row >> 2) * groups + group) * 4u + (row & 3)] : 0x7fc00000u;
    const bool isNumber = alpha < 0x7f800000u;
    const float a = __uint_as_float(isNumber ? alpha : 0x3f800000u);
    const i32 word = __float_as_int(a);
    const i32 fraction = word & 8388607;
    const float proposal = __fdiv_rn(16777216.0f, __int_as_float(fraction | 1065353216));
    const i32 nearestQuotient = exact_reciprocal_nearestQuotient(fraction | 8388608, __float2int_rz(proposal));
    const i32 q = nearestQuotient;
    const float inverse = __int_as_float(i32(((253u - (word >> 23)) << 23) + (q - 0x00800000u)));
    u32 word_1 = 0u;
    const i32 i = first;
    i32 code = 0;
    if (isNumber && i < end) {
      const i32 rounded = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i], inverse)));
      const i32 above = rounded > -1 ? rounded : -1;
      code = above < 1 ? above : 1;
    }
    word_1 |= code + 1u;
    const i32 i_1 = first + 1u;
    i32 code_1 = 0;
    if (isNumber && i_1 < end) {
      const i32 rounded_1 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_1], inverse)));
      const i32 above_1 = rounded_1 > -1 ? rounded_1 : -1;
      code_1 = above_1 < 1 ? above_1 : 1;
    }
    word_1 |= (code_1 + 1u) << 8;
    const i32 i_2 = first + 2u;
    i32 code_2 = 0;
    if (isNumber && i_2 < end) {
      const i32 rounded_2 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_2], inverse)));
      const i32 above_2 = rounded_2 > -1 ? rounded_2 : -1;
      code_2 = above_2 < 1 ? above_2 : 1;
    }
    word_1 |= (code_2 + 1u) << 16;
    const i32 i_3 = first + 3u;
    i32 code_3 = 0;
    if (isNumber && i_3 < end) {
      const i32 rounded_3 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_3], inverse)));
      const i32 above_3 = rounded_3 > -1 ? rounded_3 : -1;
      code_3 = above_3 < 1 ? above_3 : 1;
    }
    word_1 |= (code_3 + 1u) << 24;
    const i32 i_4 = first + 16u;
    i32 code_4 = 0;
    if (isNumber && i_4 < end) {
      const i32 rounded_4 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_4], inverse)));
      const i32 above_4 = rounded_4 > -1 ? rounded_4 : -1;
      code_4 = above_4 < 1 ? above_4 : 1;
    }
    word_1 |= (code_4 + 1u) << 2;
    const i32 i_5 = first + 16u + 1u;
    i32 code_5 = 0;
    if (isNumber && i_5 < end) {
      const i32 rounded_5 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_5], inverse)));
      const i32 above_5 = rounded_5 > -1 ? rounded_5 : -1;
      code_5 = above_5 < 1 ? above_5 : 1;
    }
    word_1 |= (code_5 + 1u) << 10;
    const i32 i_6 = first + 16u + 2u;
    i32 code_6 = 0;
    if (isNumber && i_6 < end) {
      const i32 rounded_6 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_6], inverse)));
      const i32 above_6 = rounded_6 > -1 ? rounded_6 : -1;
      code_6 = above_6 < 1 ? above_6 : 1;
    }
    word_1 |= (code_6 + 1u) << 18;
    const i32 i_7 = first + 16u + 3u;
    i32 code_7 = 0;
    if (isNumber && i_7 < end) {
      const i32 rounded_7 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_7], inverse)));
      const i32 above_7 = rounded_7 > -1 ? rounded_7 : -1;
      code_7 = above_7 < 1 ? above_7 : 1;
    }
    word_1 |= (code_7 + 1u) << 26;
    const i32 i_8 = first + 32u;
    i32 code_8 = 0;
    if (isNumber && i_8 < end) {
      const i32 rounded_8 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_8], inverse)));
      const i32 above_8 = rounded_8 > -1 ? rounded_8 : -1;
      code_8 = above_8 < 1 ? above_8 : 1;
    }
    word_1 |= (code_8 + 1u) << 4;
    const i32 i_9 = first + 32u + 1u;
    i32 code_9 = 0;
    if (isNumber && i_9 < end) {
      const i32 rounded_9 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_9], inverse)));
      const i32 above_9 = rounded_9 > -1 ? rounded_9 : -1;
      code_9 = above_9 < 1 ? above_9 : 1;
    }
    word_1 |= (code_9 + 1u) << 12;
    const i32 i_10 = first + 32u + 2u;
    i32 code_10 = 0;
    if (isNumber && i_10 < end) {
      const i32 rounded_10 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_10], inverse)));
      const i32 above_10 = rounded_10 > -1 ? rounded_10 : -1;
      code_10 = above_10 < 1 ? above_10 : 1;
    }
    word_1 |= (code_10 + 1u) << 20;
    const i32 i_11 = first + 32u + 3u;
    i32 code_11 = 0;
    if (isNumber && i_11 < end) {
      const i32 rounded_11 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_11], inverse)));
      const i32 above_11 = rounded_11 > -1 ? rounded_11 : -1;
      code_11 = above_11 < 1 ? above_11 : 1;
    }
    word_1 |= (code_11 + 1u) << 28;
    const i32 i_12 = first + 48u;
    i32 code_12 = 0;
    if (isNumber && i_12 < end) {
      const i32 rounded_12 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_12], inverse)));
      const i32 above_12 = rounded_12 > -1 ? rounded_12 : -1;
      code_12 = above_12 < 1 ? above_12 : 1;
    }
    word_1 |= (code_12 + 1u) << 6;
    const i32 i_13 = first + 48u + 1u;
    i32 code_13 = 0;
    if (isNumber && i_13 < end) {
      const i32 rounded_13 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_13], inverse)));
      const i32 above_13 = rounded_13 > -1 ? rounded_13 : -1;
      code_13 = above_13 < 1 ? above_13 : 1;
    }
    word_1 |= (code_13 + 1u) << 14;
    const i32 i_14 = first + 48u + 2u;
    i32 code_14 = 0;
    if (isNumber && i_14 < end) {
      const i32 rounded_14 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_14], inverse)));
      const i32 above_14 = rounded_14 > -1 ? rounded_14 : -1;
      code_14 = above_14 < 1 ? above_14 : 1;
    }
    word_1 |= (code_14 + 1u) << 22;
    const i32 i_15 = first + 48u + 3u;
    i32 code_15 = 0;
    if (isNumber && i_15 < end) {
      const i32 rounded_15 = __float2int_rz(rintf(__fmul_rn(weights[u32(row) * k + i_15], inverse)));
      const i32 above_15 = rounded_15 > -1 ? rounded_15 : -1;
      code_15 = above_15 < 1 ? above_15 : 1;
    }
    word_1 |= (code_15 + 1u) << 30;
    codes[at] = word_1;
  }
}

}  // namespace packTernary
