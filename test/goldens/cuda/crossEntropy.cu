using i32 = int;
using u32 = unsigned int;

namespace crossEntropy {

// The larger, +0 of zeros; NaN if either is.
static __device__ __forceinline__ float maximum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));
  return a > b || a != a ? a : b;
}

// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}

// The smaller, -0 of zeros; NaN if either is.
static __device__ __forceinline__ float minimum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) | __float_as_uint(b));
  return a < b || a != a ? a : b;
}

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
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

// Natural logarithm within 2 ulp; -Infinity at 0, NaN below.
static __device__ float math_log(float x) {
  const i32 word = __float_as_int(x);
  if (word == 0 || word == i32(0x80000000u)) {
    return __int_as_float(2139095040 | (word | i32(0x80000000u)));
  }
  if (word < 0) {
    return __int_as_float(word | 2143289344);
  }
  if (word >= 2139095040) {
    return x;
  }
  const bool tiny = word < 8388608;
  const i32 scaled = __float_as_int(tiny ? float(word) : x);
  const i32 offset = scaled + 0x004afb0du;
  const float k = float(i32((offset >> 23) - 127u - (tiny ? 149 : 0)));
  const float f = __int_as_float(i32((offset & 8388607) + 0x3f3504f3u)) - 1.0f;
  const float s = __fdiv_rn(f, 2.0f + f);
  const float z = __fmul_rn(s, s);
  const float w = __fmul_rn(z, z);
  const float odd = __fmul_rn(w, 0.40000972f + __fmul_rn(w, 0.24279079f));
  const float even = __fmul_rn(z, 0.6666666f + __fmul_rn(w, 0.28498787f));
  const float halfSquare = __fmul_rn(0.5f, __fmul_rn(f, f));
  const float low = __fmul_rn(s, halfSquare + (even + odd)) + __fmul_rn(k, 0.000009058001f);
  return low - halfSquare + f + __fmul_rn(k, 0.6931381f);
}

// Cross-entropy of rows with their targets:
extern "C" __global__ void __launch_bounds__(32) crossEntropy(
  const float* __restrict__ logits,
  const i32* __restrict__ targets,
  float* __restrict__ loss,
  float* __restrict__ logSum,
  const i32 rows,
  const i32 k,
  const i32 stride,
  const i32 ignored
) {
  __shared__ float slots[32];
  for (i32 row = blockIdx.x; row < rows; row += gridDim.x) {
    const i32 from = u32(row) * stride;
    float largest = -3.4e+38f;
    for (i32 i = threadIdx.x; i < k; i += 32u) {
      largest = maximum(largest, logits[u32(from) + i]);
    }
    const float value = largest;
    const float partial = warp_max(value);
    if (i32(threadIdx.x % 32u) == 0) {
      slots[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count = 1;
    float rest = -3.4e+38f;
    for (i32 slot = threadIdx.x % 32u; slot < count; slot += 32u) {
      const float value_1 = rest;
      const float value_2 = slots[slot];
      rest = value_1 > value_2 ? value_1 : value_2;
    }
    const float value_3 = rest;
    const float total = warp_max(value_3);
    __syncthreads();
    largest = total;
    float sum = 0.0f;
    for (i32 i_1 = threadIdx.x; i_1 < k; i_1 += 32u) {
      const float value_4 = sum;
      const float exp = math_exp(logits[u32(from) + i_1] - largest);
      sum = value_4 + exp;
    }
    const float value_9 = largest;
    const float value_5 = sum;
    const float partial_1 = warp_add(value_5);
    if (i32(threadIdx.x % 32u) == 0) {
      slots[threadIdx.x / 32u] = partial_1;
    }
    __syncthreads();
    const i32 count_1 = 1;
    float rest_1 = 0.0f;
    for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_1; slot_1 += 32u) {
      const float value_6 = rest_1;
      const float value_7 = slots[slot_1];
      rest_1 = value_6 + value_7;
    }
    const float value_8 = rest_1;
    const float total_1 = warp_add(value_8);
    __syncthreads();
    const float log = math_log(total_1);
    const float total_2 = value_9 + log;
    if (i32(threadIdx.x) == 0) {
      const i32 target = targets[row];
      const bool known = target >= 0 && target < k;
      const u32 found = __float_as_uint(total_2 - logits[u32(from) + (known ? target : 0)]);
      const float cost = __uint_as_float(known ? found : 0x7fc00000u);
      logSum[row] = total_2;
      loss[row] = target == ignored ? 0.0f : cost;
    }
  }
}

}  // namespace crossEntropy
