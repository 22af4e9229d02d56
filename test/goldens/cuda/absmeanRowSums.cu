using i32 = int;
using u32 = unsigned int;

namespace absmeanRowSums {

// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// The sums of magnitudes of rows, for one scale of all of them.
extern "C" __global__ void __launch_bounds__(32) absmeanRowSums(
  const u32* __restrict__ weights,
  uint4* __restrict__ sums,
  const i32 rows,
  const i32 k
) {
  __shared__ u32 partials[160];
  __shared__ u32 digits[5];
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    u32 largest = 0u;
    for (i32 i = threadIdx.x; i < k; i += 32u) {
      const u32 bits = weights[u32(row) * k + i];
      const u32 field = (bits >> 23) & 255u;
      const u32 significand = field > 0u ? (bits << 8) | 0x80000000u : 0u;
      const u32 exponent = make_uint4(field < 253u ? field : 0x00010000u, significand, 0u, 0u).x;
      largest = exponent > largest ? exponent : largest;
    }
    const u32 value = largest;
    const u32 partial = warp_max(value);
    if (i32(threadIdx.x % 32u) == 0) {
      partials[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count = 1;
    u32 rest = 0u;
    for (i32 slot = threadIdx.x % 32u; slot < count; slot += 32u) {
      const u32 value_1 = rest;
      const u32 value_2 = partials[slot];
      rest = value_1 > value_2 ? value_1 : value_2;
    }
    const u32 value_3 = rest;
    const u32 total = warp_max(value_3);
    __syncthreads();
    largest = total;
    u32 digits_0 = 0u;
    u32 digits_1 = 0u;
    u32 digits_2 = 0u;
    u32 digits_3 = 0u;
    u32 digits_4 = 0u;
    for (i32 start = 0; start < k; start += 0x00200000u) {
      const i32 end = i32(u32(k) - start) < 2097152 ? k : i32(start + 0x00200000u);
      for (i32 i_1 = start + threadIdx.x; i_1 < end; i_1 += 32u) {
        const u32 bits_1 = weights[u32(row) * k + i_1];
        const u32 field_1 = (bits_1 >> 23) & 255u;
        const u32 significand_1 = field_1 > 0u ? (bits_1 << 8) | 0x80000000u : 0u;
        const uint4 value_4 = make_uint4(field_1 < 253u ? field_1 : 0x00010000u, significand_1, 0u, 0u);
        const u32 largest_1 = largest;
        const u32 distance = largest_1 - value_4.x;
        const bool far = distance >= 32u;
        const u32 upper = far ? 0u : value_4.y;
        const u32 lower = far ? value_4.y : value_4.z;
        const u32 shift = distance & 31u;
        const u32 low = (lower >> (shift & 31)) | ((upper << 1) << ((31u - shift) & 31));
        const u32 high = upper >> (shift & 31);
        if (distance < 64u) {
          digits_0 += low & 65535u;
          digits_1 += low >> 16;
          digits_2 += high & 65535u;
          digits_3 += high >> 16;
        }
      }
      digits_1 += digits_0 >> 16;
      digits_0 &= 65535u;
      digits_2 += digits_1 >> 16;
      digits_1 &= 65535u;
      digits_3 += digits_2 >> 16;
      digits_2 &= 65535u;
      digits_4 += digits_3 >> 16;
      digits_3 &= 65535u;
    }
    const i32 local = threadIdx.x;
    i32 count_1 = 1;
    digits_0 = warp_add(digits_0);
    digits_1 = warp_add(digits_1);
    digits_2 = warp_add(digits_2);
    digits_3 = warp_add(digits_3);
    digits_4 = warp_add(digits_4);
    const i32 lane = threadIdx.x % 32u;
    if (lane < 1) {
      partials[lane * 32u + threadIdx.x / 32u] = digits_0;
      partials[(1u + lane) * 32u + threadIdx.x / 32u] = digits_1;
      partials[(2u + lane) * 32u + threadIdx.x / 32u] = digits_2;
      partials[(3u + lane) * 32u + threadIdx.x / 32u] = digits_3;
      partials[(4u + lane) * 32u + threadIdx.x / 32u] = digits_4;
    }
    __syncthreads();
    count_1 = 1;
    for (i32 o = local; o < 5; o += 32u) {
      u32 sum = partials[o * 32u];
      for (i32 part = 1; part < count_1; part += 1u) {
        sum += partials[o * 32u + part];
      }
      const u32 sum_1 = sum;
      digits[o] = sum_1;
    }
    __syncthreads();
    digits_0 = digits[0];
    digits_1 = digits[1];
    digits_2 = digits[2];
    digits_3 = digits[3];
    digits_4 = digits[4];
    digits_1 += digits_0 >> 16;
    digits_0 &= 65535u;
    digits_2 += digits_1 >> 16;
    digits_1 &= 65535u;
    digits_3 += digits_2 >> 16;
    digits_2 &= 65535u;
    digits_4 += digits_3 >> 16;
    digits_3 &= 65535u;
    u32 exponent_1 = largest;
    u32 beyond = digits_4;
    u32 high_1 = (digits_3 << 16) | digits_2;
    u32 low_1 = (digits_1 << 16) | digits_0;
    while (beyond > 0u) {
      low_1 = (low_1 >> 1) | (high_1 << 31);
      high_1 = (high_1 >> 1) | (beyond << 31);
      beyond = beyond >> 1;
      exponent_1 += 1u;
    }
    const uint4 sum_2 = make_uint4(exponent_1, high_1, low_1, 0u);
    if (i32(threadIdx.x) == 0) {
      sums[row] = sum_2;
    }
  }
}

}  // namespace absmeanRowSums
