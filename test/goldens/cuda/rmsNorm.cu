using i32 = int;
using u32 = unsigned int;

namespace rmsNorm {

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// Root mean square normalization of rows:
extern "C" __global__ void __launch_bounds__(32) rmsNorm(
  const float* __restrict__ weight,
  float* __restrict__ out,
  const i32 rows,
  const i32 k,
  const float eps,
  const float* __restrict__ x,
  const i32 xStride
) {
  __shared__ float slots[32];
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
      slots[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count = 1;
    float rest = 0.0f;
    for (i32 slot = threadIdx.x % 32u; slot < count; slot += 32u) {
      const float value_1 = rest;
      const float value_2 = slots[slot];
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
        held_0 = __fmul_rn(weight[column_5], __fmul_rn(held_0, factor));
      }
      if (i32(column_5 + 1u) < k) {
        held_1 = __fmul_rn(weight[column_5 + 1u], __fmul_rn(held_1, factor));
      }
      if (i32(column_5 + 2u) < k) {
        held_2 = __fmul_rn(weight[column_5 + 2u], __fmul_rn(held_2, factor));
      }
      if (i32(column_5 + 3u) < k) {
        held_3 = __fmul_rn(weight[column_5 + 3u], __fmul_rn(held_3, factor));
      }
    }
    const i32 column_6 = 4u * threadIdx.x;
    if (column_6 < k) {
      if (column_6 < k) {
        out[u32(row) * k + column_6] = held_0;
      }
      if (i32(column_6 + 1u) < k) {
        out[u32(row) * k + column_6 + 1u] = held_1;
      }
      if (i32(column_6 + 2u) < k) {
        out[u32(row) * k + column_6 + 2u] = held_2;
      }
      if (i32(column_6 + 3u) < k) {
        out[u32(row) * k + column_6 + 3u] = held_3;
      }
    }
  }
}

}  // namespace rmsNorm
