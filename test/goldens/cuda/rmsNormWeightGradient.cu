using i32 = int;
using u32 = unsigned int;

namespace rmsNormWeightGradient {

// Gradient of RMSNorm by its weight:
extern "C" __global__ void __launch_bounds__(32) rmsNormWeightGradient(
  const float* __restrict__ x,
  const float* __restrict__ g,
  const float* __restrict__ roots,
  float* __restrict__ dw,
  const i32 rows,
  const i32 k,
  const i32 xStride,
  const i32 gStride
) {
  __shared__ float slots[32];
  const i32 member = i32(threadIdx.x) / 8;
  const i32 pieces = i32(k + 8u - 1u) / 8;
  for (i32 piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
    const i32 column = piece * 8u + i32(threadIdx.x) % 8;
    const i32 i = column < k ? column : i32(k - 1u);
    float sum = 0.0f;
    for (i32 row = member; row < rows; row += 4u) {
      sum += __fmul_rn(__fmul_rn(g[u32(row) * gStride + i], x[u32(row) * xStride + i]), roots[row]);
    }
    const float mine = sum;
    const i32 local = threadIdx.x;
    slots[local] = mine;
    __syncthreads();
    for (i32 distance = 16; distance >= 8; distance = distance >> 1) {
      if (local < distance) {
        const float a = slots[local];
        const float b = slots[u32(local) + distance];
        slots[local] = a + b;
      }
      __syncthreads();
    }
    const float total = slots[local % 8];
    __syncthreads();
    sum = total;
    if (member == 0 && column < k) {
      dw[column] = sum;
    }
  }
}

}  // namespace rmsNormWeightGradient
