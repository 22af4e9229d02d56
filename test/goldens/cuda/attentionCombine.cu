using i32 = int;
using u32 = unsigned int;

namespace attentionCombine {

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

// One element of the output of attention; `index` counts those of [batch, heads, dim].
static __device__ float attention_combine_combinedAttention(
  const float* partials,
  const i32* positions,
  i32 heads,
  i32 dim,
  i32 splits,
  i32 keys,
  i32 capacity,
  i32 index
) {
  const i32 head = index / dim;
  const i32 batch = head / heads;
  const i32 seen = positions[batch] + 1u;
  const i32 atLeastOne = seen < 1 ? 1 : seen;
  const i32 visible = atLeastOne < capacity ? atLeastOne : capacity;
  const i32 used = i32(u32(visible) + keys - 1u) / keys;
  const i32 width = dim + 2u;
  const i32 first = u32(head) * splits * width;
  float largest = -3.4e+38f;
  for (i32 split = 0; split < used; split += 1u) {
    largest = maximum(largest, partials[first + u32(split) * width + dim]);
  }
  float sum = 0.0f;
  float value = 0.0f;
  for (i32 split_1 = 0; split_1 < used; split_1 += 1u) {
    const i32 from = first + u32(split_1) * width;
    const float exp = math_exp(partials[u32(from) + dim] - largest);
    const float factor = exp;
    sum += __fmul_rn(factor, partials[u32(from) + dim + 1u]);
    value += __fmul_rn(factor, partials[u32(from) + index % dim]);
  }
  return __fdiv_rn(value, sum);
}

// Brings together what the workgroups of attention-decode found for parts of the keys.
extern "C" __global__ void __launch_bounds__(32) attentionCombine(
  const float* __restrict__ partials,
  const i32* __restrict__ positions,
  float* __restrict__ out,
  const i32 batch,
  const i32 heads,
  const i32 dim,
  const i32 splits,
  const i32 keys,
  const i32 capacity
) {
  const i32 stride = gridDim.x * 32u;
  const i32 elements = u32(batch) * heads * dim;
  for (i32 i = blockIdx.x * 32u + threadIdx.x; i < elements; i += u32(stride)) {
    const float combinedAttention = attention_combine_combinedAttention(partials, positions, heads, dim, splits, keys, capacity, i);
    out[i] = combinedAttention;
  }
}

}  // namespace attentionCombine
