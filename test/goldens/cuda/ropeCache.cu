using i32 = int;
using u32 = unsigned int;

namespace ropeCache {

// Rotates new queries and keys by their positions, and puts new keys and values into their places
// in the caches.
extern "C" __global__ void __launch_bounds__(32) ropeCache(
  const float* __restrict__ x,
  const float* __restrict__ cos,
  const float* __restrict__ sin,
  const i32* __restrict__ slots,
  const i32* __restrict__ positions,
  float* __restrict__ keys,
  float* __restrict__ values,
  float* __restrict__ out,
  const i32 rows,
  const i32 seq,
  const i32 heads,
  const i32 kvHeads,
  const i32 dim,
  const i32 length,
  const i32 capacity,
  const i32 xStride,
  const i32 qOffset,
  const i32 keyOffset,
  const i32 valueOffset
) {
  const i32 half = dim >> 1;
  const i32 rowPairs = (heads + 2u * kvHeads) * half;
  const i32 stride = gridDim.x * 32u;
  for (i32 pair = blockIdx.x * 32u + threadIdx.x; pair < i32(u32(rows) * rowPairs); pair += u32(stride)) {
    const i32 row = pair / rowPairs;
    const i32 head = i32(pair - u32(row) * rowPairs) / half;
    const i32 i = pair % half;
    const i32 batch = row / seq;
    const i32 position = u32(positions[batch]) + row % seq;
    const bool isQuery = head < heads;
    const bool isKey = head < i32(u32(heads) + kvHeads);
    const i32 first = isQuery ? 0 : (isKey ? heads : i32(u32(heads) + kvHeads));
    const i32 offset = isQuery ? qOffset : (isKey ? keyOffset : valueOffset);
    const i32 from = u32(row) * xStride + offset + (u32(head) - first) * dim + i;
    const float low = x[from];
    const float high = x[u32(from) + half];
    const i32 clamped = position < length ? position : i32(length - 1u);
    const i32 angle = u32(clamped < 0 ? 0 : clamped) * half + i;
    const float c = cos[angle];
    const float s = sin[angle];
    const i32 cached = ((u32(slots[batch]) * capacity + position) * kvHeads + head - first) * dim + i;
    if (isQuery) {
      const i32 to = (u32(row) * heads + head) * dim + i;
      out[to] = __fmul_rn(low, c) - __fmul_rn(high, s);
      out[u32(to) + half] = __fmul_rn(high, c) + __fmul_rn(low, s);
    } else if (position >= 0 && position < capacity) {
      if (isKey) {
        keys[cached] = __fmul_rn(low, c) - __fmul_rn(high, s);
        keys[u32(cached) + half] = __fmul_rn(high, c) + __fmul_rn(low, s);
      } else {
        values[cached] = low;
        values[u32(cached) + half] = high;
      }
    }
  }
}

}  // namespace ropeCache
