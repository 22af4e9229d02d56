using i32 = int;
using u32 = unsigned int;

namespace topK {

// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// The `count` largest of each chunk of a row's candidates, in descending order, the lower index
// first of equals (0 and -0 are equal) and NaN above all; count 1 is argmax.
extern "C" __global__ void __launch_bounds__(32) topK(
  const float* __restrict__ values,
  float* __restrict__ outValues,
  i32* __restrict__ outIndices,
  const i32 rows,
  const i32 candidates,
  const i32 stride,
  const i32 chunk,
  const i32 count
) {
  __shared__ u32 keys[32];
  __shared__ i32 ids[32];
  const i32 chunks = i32(u32(candidates) + chunk - 1u) / chunk;
  for (i32 item = blockIdx.x; item < i32(u32(rows) * chunks); item += gridDim.x) {
    const i32 row = item / chunks;
    const i32 first = u32(item % chunks) * chunk;
    const i32 last = i32(u32(first) + chunk) < candidates ? i32(u32(first) + chunk) : candidates;
    const i32 out = u32(item) * count;
    u32 winnerKey = 0xffffffffu;
    i32 winnerIndex = -1;
    u32 bestKey = 0u;
    i32 bestIndex = 0;
    bool stale = true;
    for (i32 round = 0; round < count; round += 1u) {
      if (stale) {
        bestKey = 0u;
        bestIndex = 2147483647;
        for (i32 at = first + threadIdx.x; at < last; at += 32u) {
          const float value = values[u32(row) * stride + at];
          const u32 word = __float_as_uint(value);
          const u32 magnitude = word & 0x7fffffffu;
          const bool negative = word > 0x80000000u;
          const u32 key = negative ? 0xffffffffu - word : magnitude | 0x80000000u;
          const u32 key_1 = magnitude > 0x7f800000u ? 0xffffffffu : key;
          const i32 index = at;
          const bool left = key_1 < winnerKey || (key_1 == winnerKey && index > winnerIndex);
          const bool better = key_1 > bestKey || (key_1 == bestKey && index < bestIndex);
          if (index >= 0 && left && better) {
            bestKey = key_1;
            bestIndex = index;
          }
        }
      }
      const u32 value_1 = bestKey;
      const u32 partial = warp_max(value_1);
      if (i32(threadIdx.x % 32u) == 0) {
        keys[threadIdx.x / 32u] = partial;
      }
      __syncthreads();
      const i32 count_1 = 1;
      u32 rest = 0u;
      for (i32 slot = threadIdx.x % 32u; slot < count_1; slot += 32u) {
        const u32 value_2 = rest;
        const u32 value_3 = keys[slot];
        rest = value_2 > value_3 ? value_2 : value_3;
      }
      const u32 value_4 = rest;
      const u32 total = warp_max(value_4);
      __syncthreads();
      winnerKey = total;
      const i32 mine = bestKey == winnerKey ? i32(0u - bestIndex) : i32(0x80000000u);
      const i32 partial_1 = warp_max(mine);
      if (i32(threadIdx.x % 32u) == 0) {
        ids[threadIdx.x / 32u] = partial_1;
      }
      __syncthreads();
      const i32 count_2 = 1;
      i32 rest_1 = i32(0x80000000u);
      for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_2; slot_1 += 32u) {
        const i32 value_5 = rest_1;
        const i32 value_6 = ids[slot_1];
        rest_1 = value_5 > value_6 ? value_5 : value_6;
      }
      const i32 value_7 = rest_1;
      const i32 total_1 = warp_max(value_7);
      __syncthreads();
      winnerIndex = 0u - total_1;
      stale = bestKey == winnerKey && bestIndex == winnerIndex;
      if (i32(threadIdx.x) == 0) {
        const bool found = winnerKey != 0u;
        outIndices[u32(out) + round] = found ? winnerIndex : -1;
        const u32 key_2 = winnerKey;
        outValues[u32(out) + round] = __uint_as_float(found ? (key_2 >= 0x80000000u ? key_2 & 0x7fffffffu : 0xffffffffu - key_2) : 0u);
      }
    }
  }
}

}  // namespace topK
