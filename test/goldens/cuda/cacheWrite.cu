using i32 = int;
using u32 = unsigned int;

namespace cacheWrite {

// Copies new key or value rows into their places in the cache, in place.
extern "C" __global__ void __launch_bounds__(32) cacheWrite(
  float* __restrict__ cache,
  const float* __restrict__ x,
  const i32* __restrict__ slots,
  const i32* __restrict__ positions,
  const i32 rows,
  const i32 seq,
  const i32 capacity,
  const i32 width,
  const i32 xStride
) {
  const i32 stride = gridDim.x * 32u;
  for (i32 i = blockIdx.x * 32u + threadIdx.x; i < i32(u32(rows) * width); i += u32(stride)) {
    const i32 row = i / width;
    const i32 column = i % width;
    const i32 batch = row / seq;
    const i32 position = u32(positions[batch]) + row % seq;
    if (position >= 0 && position < capacity) {
      cache[(u32(slots[batch]) * capacity + position) * width + column] = x[u32(row) * xStride + column];
    }
  }
}

}  // namespace cacheWrite
