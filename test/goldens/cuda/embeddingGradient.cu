using i32 = int;
using u32 = unsigned int;

namespace embeddingGradient {

// Row ids[r] of a table = the sum of all rows r of g with that id, in ascending order.
extern "C" __global__ void __launch_bounds__(32) embeddingGradient(
  const float* __restrict__ g,
  const i32* __restrict__ ids,
  const i32* __restrict__ links,
  float* __restrict__ out,
  const i32 rows,
  const i32 vocabulary,
  const i32 width,
  const i32 gStride
) {
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    if (links[2u * row] < 0) {
      const i32 id = ids[row];
      const i32 to = u32(id >= 0 && id < vocabulary ? id : 0) * width;
      for (i32 i = threadIdx.x; i < width; i += 32u) {
        float sum = 0.0f;
        i32 from = row;
        while (from < rows) {
          const i32 id_1 = ids[from];
          const u32 term = __float_as_uint(g[u32(from) * gStride + i]);
          sum += __uint_as_float(id_1 >= 0 && id_1 < vocabulary ? term : 0x7fc00000u);
          from = links[2u * from + 1u];
        }
        out[u32(to) + i] = sum;
      }
    }
  }
}

}  // namespace embeddingGradient
