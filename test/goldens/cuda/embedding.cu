using i32 = int;
using u32 = unsigned int;

namespace embedding {

// Row lookup out[row] = table[ids[row]], decoded to f32.
extern "C" __global__ void __launch_bounds__(32) embedding(
  const u32* __restrict__ weights,
  const float* __restrict__ scales,
  const i32* __restrict__ ids,
  float* __restrict__ out,
  const i32 rows,
  const i32 vocab,
  const i32 width,
  const i32 firstId,
  const i32 count
) {
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    const i32 id = ids[row];
    const bool known = id >= 0 && id < vocab;
    if (!known || (id >= firstId && id < i32(u32(firstId) + count))) {
      for (i32 i = threadIdx.x; i < width; i += 32u) {
        const i32 id_1 = known ? i32(u32(id) - firstId) : 0;
        const i32 index = u32(id_1) * width + i;
        const u32 word = weights[index >> 2];
        const i32 e = index & 3;
        const float w = float(i32(word << ((24u - 8u * e) & 31)) >> 24);
        const u32 found = __float_as_uint(__fmul_rn(w, scales[id_1]));
        out[u32(row) * width + i] = __uint_as_float(known ? found : 0x7fc00000u);
      }
    }
  }
}

}  // namespace embedding
