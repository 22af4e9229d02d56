using i32 = int;
using u32 = unsigned int;

namespace rowMagnitudes {

// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// The largest magnitude of each row as bits, max(bits(x) & 0x7fffffff):
extern "C" __global__ void __launch_bounds__(32) rowMagnitudes(
  u32* __restrict__ magnitudes,
  const i32 rows,
  const i32 k,
  const float* __restrict__ x,
  const i32 xStride
) {
  __shared__ u32 words[32];
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
    u32 largest = 0u;
    const i32 column_4 = 4u * threadIdx.x;
    if (column_4 < k) {
      const u32 magnitude = __float_as_uint(held_0) & 0x7fffffffu;
      largest = magnitude > largest ? magnitude : largest;
      const u32 magnitude_1 = __float_as_uint(held_1) & 0x7fffffffu;
      largest = magnitude_1 > largest ? magnitude_1 : largest;
      const u32 magnitude_2 = __float_as_uint(held_2) & 0x7fffffffu;
      largest = magnitude_2 > largest ? magnitude_2 : largest;
      const u32 magnitude_3 = __float_as_uint(held_3) & 0x7fffffffu;
      largest = magnitude_3 > largest ? magnitude_3 : largest;
    }
    const u32 value = largest;
    const u32 partial = warp_max(value);
    if (i32(threadIdx.x % 32u) == 0) {
      words[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count = 1;
    u32 rest = 0u;
    for (i32 slot = threadIdx.x % 32u; slot < count; slot += 32u) {
      const u32 value_1 = rest;
      const u32 value_2 = words[slot];
      rest = value_1 > value_2 ? value_1 : value_2;
    }
    const u32 value_3 = rest;
    const u32 total = warp_max(value_3);
    __syncthreads();
    const u32 magnitude_4 = total;
    if (i32(threadIdx.x) == 0) {
      magnitudes[row] = magnitude_4;
    }
  }
}

}  // namespace rowMagnitudes
