using i32 = int;
using u32 = unsigned int;

namespace quantize {

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// The larger, +0 of zeros; NaN if either is.
static __device__ __forceinline__ float maximum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));
  return a > b || a != a ? a : b;
}

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

// Absmax quantization of rows to signed codes with a multiplicative dequantization scale.
extern "C" __global__ void __launch_bounds__(32) quantize(
  const float* __restrict__ normWeight,
  u32* __restrict__ codes,
  float* __restrict__ d,
  i32* __restrict__ sums,
  const i32 rows,
  const i32 k,
  const i32 kPadded,
  const float eps,
  const float* __restrict__ x,
  const i32 xStride
) {
  __shared__ float floats[32];
  __shared__ u32 words[32];
  __shared__ i32 integers[32];
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    float held_0 = 0.0f;
    float held_1 = 0.0f;
    float held_2 = 0.0f;
    float held_3 = 0.0f;
    const i32 column = 4u * threadIdx.x;
    if (column < k) {
      held_0 = 0.0f;
      if (column < k) {
        held_0 = x[u32(row) * xStride + column];
      }
      held_1 = 0.0f;
      if (i32(column + 1u) < k) {
        const i32 column_1 = column + 1u;
        held_1 = x[u32(row) * xStride + column_1];
      }
      held_2 = 0.0f;
      if (i32(column + 2u) < k) {
        const i32 column_2 = column + 2u;
        held_2 = x[u32(row) * xStride + column_2];
      }
      held_3 = 0.0f;
      if (i32(column + 3u) < k) {
        const i32 column_3 = column + 3u;
        held_3 = x[u32(row) * xStride + column_3];
      }
    }
    float squares = 0.0f;
    const i32 column_4 = 4u * threadIdx.x;
    if (column_4 < k) {
      squares += __fmul_rn(held_0, held_0);
      squares += __fmul_rn(held_1, held_1);
      squares += __fmul_rn(held_2, held_2);
      squares += __fmul_rn(held_3, held_3);
    }
    const float value = squares;
    const float partial = warp_add(value);
    if (i32(threadIdx.x % 32u) == 0) {
      floats[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count = 1;
    float rest = 0.0f;
    for (i32 slot = threadIdx.x % 32u; slot < count; slot += 32u) {
      const float value_1 = rest;
      const float value_2 = floats[slot];
      rest = value_1 + value_2;
    }
    const float value_3 = rest;
    const float total = warp_add(value_3);
    __syncthreads();
    const float mean = __fdiv_rn(total, float(k));
    const float factor = __frsqrt_rn(mean + eps);
    const i32 column_5 = 4u * threadIdx.x;
    if (column_5 < k) {
      if (column_5 < k) {
        held_0 = __fmul_rn(normWeight[column_5], __fmul_rn(held_0, factor));
      }
      if (i32(column_5 + 1u) < k) {
        held_1 = __fmul_rn(normWeight[column_5 + 1u], __fmul_rn(held_1, factor));
      }
      if (i32(column_5 + 2u) < k) {
        held_2 = __fmul_rn(normWeight[column_5 + 2u], __fmul_rn(held_2, factor));
      }
      if (i32(column_5 + 3u) < k) {
        held_3 = __fmul_rn(normWeight[column_5 + 3u], __fmul_rn(held_3, factor));
      }
    }
    u32 largest = 0u;
    const i32 column_6 = 4u * threadIdx.x;
    if (column_6 < k) {
      const u32 magnitude = __float_as_uint(held_0) & 0x7fffffffu;
      largest = magnitude > largest ? magnitude : largest;
      const u32 magnitude_1 = __float_as_uint(held_1) & 0x7fffffffu;
      largest = magnitude_1 > largest ? magnitude_1 : largest;
      const u32 magnitude_2 = __float_as_uint(held_2) & 0x7fffffffu;
      largest = magnitude_2 > largest ? magnitude_2 : largest;
      const u32 magnitude_3 = __float_as_uint(held_3) & 0x7fffffffu;
      largest = magnitude_3 > largest ? magnitude_3 : largest;
    }
    const u32 value_4 = largest;
    const u32 partial_1 = warp_max(value_4);
    if (i32(threadIdx.x % 32u) == 0) {
      words[threadIdx.x / 32u] = partial_1;
    }
    __syncthreads();
    const i32 count_1 = 1;
    u32 rest_1 = 0u;
    for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_1; slot_1 += 32u) {
      const u32 value_5 = rest_1;
      const u32 value_6 = words[slot_1];
      rest_1 = value_5 > value_6 ? value_5 : value_6;
    }
    const u32 value_7 = rest_1;
    const u32 total_1 = warp_max(value_7);
    __syncthreads();
    const u32 magnitude_4 = total_1;
    const bool bad = magnitude_4 > 0x7e800000u;
    const float a = maximum(__uint_as_float(bad ? 0u : magnitude_4), 0.00001f);
    const i32 word = __float_as_int(a);
    const i32 fraction = word & 8388607;
    const float proposal = __fdiv_rn(16777216.0f, __int_as_float(fraction | 1065353216));
    const i32 nearestQuotient = exact_reciprocal_nearestQuotient(fraction | 8388608, __float2int_rz(proposal));
    const i32 q = nearestQuotient;
    const float scale = __fmul_rn(127.0f, __int_as_float(i32(((253u - (word >> 23)) << 23) + (q - 0x00800000u))));
    i32 sum = 0;
    const i32 column_7 = 4u * threadIdx.x;
    if (column_7 < kPadded) {
      u32 word_1 = 0u;
      const i32 rounded = __float2int_rz(rintf(__fmul_rn(held_0, scale)));
      const i32 above = rounded > -128 ? rounded : -128;
      const i32 code = bad ? 0 : (above < 127 ? above : 127);
      sum += u32(code);
      word_1 |= code & 255u;
      const i32 rounded_1 = __float2int_rz(rintf(__fmul_rn(held_1, scale)));
      const i32 above_1 = rounded_1 > -128 ? rounded_1 : -128;
      const i32 code_1 = bad ? 0 : (above_1 < 127 ? above_1 : 127);
      sum += u32(code_1);
      word_1 |= (code_1 & 255u) << 8;
      const i32 rounded_2 = __float2int_rz(rintf(__fmul_rn(held_2, scale)));
      const i32 above_2 = rounded_2 > -128 ? rounded_2 : -128;
      const i32 code_2 = bad ? 0 : (above_2 < 127 ? above_2 : 127);
      sum += u32(code_2);
      word_1 |= (code_2 & 255u) << 16;
      const i32 rounded_3 = __float2int_rz(rintf(__fmul_rn(held_3, scale)));
      const i32 above_3 = rounded_3 > -128 ? rounded_3 : -128;
      const i32 code_3 = bad ? 0 : (above_3 < 127 ? above_3 : 127);
      sum += u32(code_3);
      word_1 |= (code_3 & 255u) << 24;
      codes[i32(u32(row) * kPadded + column_7) >> 2] = word_1;
    }
    const i32 value_8 = sum;
    const i32 partial_2 = warp_add(u32(value_8));
    if (i32(threadIdx.x % 32u) == 0) {
      integers[threadIdx.x / 32u] = partial_2;
    }
    __syncthreads();
    const i32 count_2 = 1;
    i32 rest_2 = 0;
    for (i32 slot_2 = threadIdx.x % 32u; slot_2 < count_2; slot_2 += 32u) {
      const i32 value_9 = rest_2;
      const i32 value_10 = integers[slot_2];
      rest_2 = u32(value_9) + value_10;
    }
    const i32 value_11 = rest_2;
    const i32 total_2 = warp_add(u32(value_11));
    __syncthreads();
    const i32 total_3 = total_2;
    if (i32(threadIdx.x) == 0) {
      sums[row] = total_3;
      d[row] = __uint_as_float(bad ? 0x7fc00000u : __float_as_uint(__fmul_rn(a, 0.007874016f)));
    }
  }
}

}  // namespace quantize
