using i32 = int;
using u32 = unsigned int;

namespace softmax {

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

// Softmax of rows:
extern "C" __global__ void __launch_bounds__(32) softmax(
  float* __restrict__ out,
  const i32 rows,
  const i32 k,
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
    float largest = -3.4e+38f;
    const i32 column_4 = 4u * threadIdx.x;
    if (column_4 < k) {
      if (column_4 < k) {
        largest = maximum(largest, held_0);
      }
      if (i32(column_4 + 1u) < k) {
        largest = maximum(largest, held_1);
      }
      if (i32(column_4 + 2u) < k) {
        largest = maximum(largest, held_2);
      }
      if (i32(column_4 + 3u) < k) {
        largest = maximum(largest, held_3);
      }
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
    const i32 column_5 = 4u * threadIdx.x;
    if (column_5 < k) {
      if (column_5 < k) {
        const float exp = math_exp(held_0 - largest);
        held_0 = exp;
        sum += held_0;
      }
      if (i32(column_5 + 1u) < k) {
        const float exp_1 = math_exp(held_1 - largest);
        held_1 = exp_1;
        sum += held_1;
      }
      if (i32(column_5 + 2u) < k) {
        const float exp_2 = math_exp(held_2 - largest);
        held_2 = exp_2;
        sum += held_2;
      }
      if (i32(column_5 + 3u) < k) {
        const float exp_3 = math_exp(held_3 - largest);
        held_3 = exp_3;
        sum += held_3;
      }
    }
    const float value_4 = sum;
    const float partial_1 = warp_add(value_4);
    if (i32(threadIdx.x % 32u) == 0) {
      slots[threadIdx.x / 32u] = partial_1;
    }
    __syncthreads();
    const i32 count_1 = 1;
    float rest_1 = 0.0f;
    for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_1; slot_1 += 32u) {
      const float value_5 = rest_1;
      const float value_6 = slots[slot_1];
      rest_1 = value_5 + value_6;
    }
    const float value_7 = rest_1;
    const float total_1 = warp_add(value_7);
    __syncthreads();
    const float inverse = __fdiv_rn(1.0f, total_1);
    const i32 column_6 = 4u * threadIdx.x;
    if (column_6 < k) {
      if (column_6 < k) {
        out[u32(row) * k + column_6] = __fmul_rn(held_0, inverse);
      }
      if (i32(column_6 + 1u) < k) {
        const i32 column_7 = column_6 + 1u;
        out[u32(row) * k + column_7] = __fmul_rn(held_1, inverse);
      }
      if (i32(column_6 + 2u) < k) {
        const i32 column_8 = column_6 + 2u;
        out[u32(row) * k + column_8] = __fmul_rn(held_2, inverse);
      }
      if (i32(column_6 + 3u) < k) {
        const i32 column_9 = column_6 + 3u;
        out[u32(row) * k + column_9] = __fmul_rn(held_3, inverse);
      }
    }
  }
}

}  // namespace softmax
