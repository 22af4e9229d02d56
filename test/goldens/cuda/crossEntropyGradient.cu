using i32 = int;
using u32 = unsigned int;

namespace crossEntropyGradient {

// The larger, +0 of zeros; NaN if either is.
static __device__ __forceinline__ float maximum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));
  return a > b || a != a ? a : b;
}

// The smaller, -0 of zeros; NaN if either is.
static __device__ __forceinline__ float minimum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) | __float_as_uint(b));
  return a < b || a != a ? a : b;
}

// e^x within 2 ulp.
static __device__ float math_exp(float x) {
  if ((__float_as_uint(x) & 0x7fffffffu) > 0x7f800000u) {
    return x;
  }
  const float clamped = maximum(minimum(x, 89.0f), -104.0f);
  const float n = rintf(__fmul_rn(clamped, 1.442695f));
  const float r = clamped - __fmul_rn(n, 0.6933594f) + __fmul_rn(n, 0.00021219444f);
  float p = __fmul_rn(0.00019875691f, r) + 0.0013981999f;
  p = __fmul_rn(p, r) + 0.008333452f;
  p = __fmul_rn(p, r) + 0.041665796f;
  p = __fmul_rn(p, r) + 0.16666666f;
  p = __fmul_rn(p, r) + 0.5f;
  const float y = __fmul_rn(__fmul_rn(r, r), p) + r + 1.0f;
  const i32 whole = __float2int_rz(n);
  const i32 half = whole >> 1;
  const float first = __int_as_float(i32((half + 127u) << 23));
  const float second = __int_as_float(i32((u32(whole) - half + 127u) << 23));
  return __fmul_rn(__fmul_rn(y, first), second);
}

// Gradient of {@link crossEntropy} by the logits:
extern "C" __global__ void __launch_bounds__(32) crossEntropyGradient(
  const float* __restrict__ logits,
  const i32* __restrict__ targets,
  const float* __restrict__ logSum,
  const float* __restrict__ g,
  float* __restrict__ out,
  const i32 rows,
  const i32 k,
  const i32 stride,
  const i32 ignored
) {
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    const i32 target = targets[row];
    const float total = logSum[row];
    const float factor = g[row];
    for (i32 i = threadIdx.x; i < k; i += 32u) {
      const float hit = i == target ? 1.0f : 0.0f;
      const float exp = math_exp(logits[u32(row) * stride + i] - total);
      const float value = __fmul_rn(exp - hit, factor);
      out[u32(row) * k + i] = target == ignored ? 0.0f : value;
    }
  }
}

}  // namespace crossEntropyGradient
