using i32 = int;
using u32 = unsigned int;

namespace reduce {

// Reduction along the middle of three axes:
extern "C" __global__ void __launch_bounds__(32) reduce(
  const float* __restrict__ x,
  float* __restrict__ out,
  const i32 outer,
  const i32 length,
  const i32 inner,
  const i32 outerStride,
  const i32 stride,
  const i32 innerStride
) {
  __shared__ float slots[32];
  const i32 local = threadIdx.x;
  const i32 column = local % 8;
  const i32 member = local / 8;
  const i32 across = i32(inner + 8u - 1u) / 8;
  for (i32 tile = blockIdx.x; tile < i32(u32(outer) * across); tile += gridDim.x) {
    const i32 o = tile / across;
    const i32 i = (tile - u32(o) * across) * 8u + column;
    const i32 from = u32(o) * outerStride + u32(i < inner ? i : i32(inner - 1u)) * innerStride;
    float total = 0.0f;
    for (i32 l = member; l < length; l += 4u) {
      const float a = total;
      const float b = x[from + u32(l) * stride];
      total = a + b;
    }
    const float mine = total;
    const i32 local_1 = threadIdx.x;
    slots[local_1] = mine;
    __syncthreads();
    for (i32 distance = 16; distance >= 8; distance = distance >> 1) {
      if (local_1 < distance) {
        const float a_1 = slots[local_1];
        const float b_1 = slots[u32(local_1) + distance];
        slots[local_1] = a_1 + b_1;
      }
      __syncthreads();
    }
    const float total_1 = slots[local_1 % 8];
    __syncthreads();
    total = total_1;
    if (member == 0 && i < inner) {
      out[u32(o) * inner + i] = __fdiv_rn(total, float(length));
    }
  }
}

}  // namespace reduce
