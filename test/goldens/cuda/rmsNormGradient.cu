using i32 = int;
using u32 = unsigned int;

namespace rmsNormGradient {

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// Gradient of RMSNorm by its input:
extern "C" __global__ void __launch_bounds__(32) rmsNormGradient(
  const float* __restrict__ x,
  const float* __restrict__ weight,
  const float* __restrict__ g,
  float* __restrict__ dx,
  float* __restrict__ roots,
  const i32 rows,
  const i32 k,
  const i32 xStride,
  const i32 gStride,
  const float eps
) {
  __shared__ float slots[32];
  const float count = float(k);
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    float squares = 0.0f;
    float products = 0.0f;
    for (i32 i = threadIdx.x; i < k; i += 32u) {
      const float value = x[u32(row) * xStride + i];
      squares += __fmul_rn(value, value);
      products += __fmul_rn(__fmul_rn(g[u32(row) * gStride + i], weight[i]), value);
    }
    const float value_1 = squares;
    const float partial = warp_add(value_1);
    if (i32(threadIdx.x % 32u) == 0) {
      slots[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count_1 = 1;
    float rest = 0.0f;
    for (i32 slot = threadIdx.x % 32u; slot < count_1; slot += 32u) {
      const float value_2 = rest;
      const float value_3 = slots[slot];
      rest = value_2 + value_3;
    }
    const float value_4 = rest;
    const float total = warp_add(value_4);
    __syncthreads();
    const float r = __frsqrt_rn(__fdiv_rn(total, count) + eps);
    const float value_9 = __fmul_rn(r, r);
    const float value_5 = products;
    const float partial_1 = warp_add(value_5);
    if (i32(threadIdx.x % 32u) == 0) {
      slots[threadIdx.x / 32u] = partial_1;
    }
    __syncthreads();
    const i32 count_2 = 1;
    float rest_1 = 0.0f;
    for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_2; slot_1 += 32u) {
      const float value_6 = rest_1;
      const float value_7 = slots[slot_1];
      rest_1 = value_6 + value_7;
    }
    const float value_8 = rest_1;
    const float total_1 = warp_add(value_8);
    __syncthreads();
    const float pull = __fdiv_rn(__fmul_rn(value_9, total_1), count);
    if (i32(threadIdx.x) == 0) {
      roots[row] = r;
    }
    for (i32 i_1 = threadIdx.x; i_1 < k; i_1 += 32u) {
      dx[u32(row) * k + i_1] = __fmul_rn(r, __fmul_rn(g[u32(row) * gStride + i_1], weight[i_1]) - __fmul_rn(x[u32(row) * xStride + i_1], pull));
    }
  }
}

}  // namespace rmsNormGradient
