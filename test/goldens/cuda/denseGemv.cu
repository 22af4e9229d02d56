using i32 = int;
using u32 = unsigned int;

namespace denseGemv {

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// Dense matrix multiplication for few rows in f32, out[row, column] = epilogue(sum_k x[row, k] *
// w[column, k]), bound by reading the weights once.
extern "C" __global__ void __launch_bounds__(32) denseGemv(
  const u32* __restrict__ weights,
  const float* __restrict__ x,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 xStride,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ float slots[32];
  const i32 words = k / 2;
  i32 rowStart_0 = 0;
  const i32 row = blockIdx.y;
  rowStart_0 = u32(row < m ? row : i32(m - 1u)) * xStride;
  i32 columnStart_0 = 0;
  const i32 column = blockIdx.x;
  columnStart_0 = u32(column < columns ? column : i32(columns - 1u)) * words;
  float acc_0 = 0.0f;
  float xs_0 = 0.0f;
  float xs_1 = 0.0f;
  for (i32 word = threadIdx.x; word < words; word += 32u) {
    xs_0 = x[rowStart_0 + word * 2u];
    xs_1 = x[rowStart_0 + word * 2u + 1u];
    const i32 at = u32(columnStart_0) + word;
    const u32 packed = weights[at];
    const u32 half = packed & 65535u;
    const u32 magnitude = half & 32767u;
    const u32 bias = magnitude < 31744u ? 0x38000000u : 0x70000000u;
    const float normal = __uint_as_float((magnitude << 13) + bias);
    const float value = magnitude < 1024u ? __fmul_rn(float(magnitude), 5.9604645e-8f) : normal;
    const float w = __uint_as_float(__float_as_uint(value) | ((half & 32768u) << 16));
    acc_0 += __fmul_rn(xs_0, w);
    const u32 half_1 = (packed >> 16) & 65535u;
    const u32 magnitude_1 = half_1 & 32767u;
    const u32 bias_1 = magnitude_1 < 31744u ? 0x38000000u : 0x70000000u;
    const float normal_1 = __uint_as_float((magnitude_1 << 13) + bias_1);
    const float value_1 = magnitude_1 < 1024u ? __fmul_rn(float(magnitude_1), 5.9604645e-8f) : normal_1;
    const float w_1 = __uint_as_float(__float_as_uint(value_1) | ((half_1 & 32768u) << 16));
    acc_0 += __fmul_rn(xs_1, w_1);
  }
  const i32 local = threadIdx.x;
  i32 count = 1;
  acc_0 = warp_add(acc_0);
  const i32 lane = threadIdx.x % 32u;
  if (lane < 1) {
    slots[lane * 32u + threadIdx.x / 32u] = acc_0;
  }
  __syncthreads();
  count = 1;
  for (i32 o = local; o < 1; o += 32u) {
    float sum = slots[o * 32u];
    for (i32 part = 1; part < count; part += 1u) {
      sum += slots[o * 32u + part];
    }
    const float sum_1 = sum;
    const i32 row_1 = blockIdx.y + o;
    const i32 column_1 = blockIdx.x;
    if (row_1 < m && column_1 < columns) {
      float value_2 = sum_1;
      const float acc = value_2;
      out[u32(row_1) * n + firstColumn + column_1] = acc;
    }
  }
}

}  // namespace denseGemv
