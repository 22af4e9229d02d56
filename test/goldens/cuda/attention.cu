using i32 = int;
using u32 = unsigned int;

namespace attention {

// What lies there for all threads of the block alike, between two barriers.
template <typename T>
static __device__ __forceinline__ T uniform_load(const T* place) {
  __syncthreads();
  const T value = *place;
  __syncthreads();
  return value;
}

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

// Causal attention with grouped queries; kv head h serves q heads h*g..h*g+g-1, softmax in f32.
extern "C" __global__ void __launch_bounds__(32) attention(
  const float* __restrict__ q,
  const float* __restrict__ keys,
  const float* __restrict__ values,
  const i32* __restrict__ slots,
  const i32* __restrict__ positions,
  float* __restrict__ out,
  const i32 seq,
  const i32 heads,
  const i32 kvHeads,
  const i32 capacity,
  const i32 qStride,
  const i32 keyStride,
  const i32 valueStride,
  const float scale
) {
  __shared__ float scores[36];
  __shared__ float largest[4];
  __shared__ float sums[4];
  __shared__ float factors[4];
  __shared__ i32 common[1];
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  const i32 local = threadIdx.x;
  const i32 together = heads / kvHeads;
  const i32 batch = i32(blockIdx.y) / kvHeads;
  const i32 kvHead = i32(blockIdx.y) % kvHeads;
  const i32 base = u32(slots[batch]) * capacity;
  const i32 firstQuery = blockIdx.x * 4u;
  const i32 allQueries = u32(seq) * together;
  const i32 at = firstQuery + 3u;
  i32 length = (at < allQueries ? at : i32(allQueries - 1u)) / together + 1u;
  if (local == 0) {
    const i32 at_1 = firstQuery + 3u;
    const i32 t = (at_1 < allQueries ? at_1 : i32(allQueries - 1u)) / together;
    const i32 seen = u32(positions[batch]) + t + 1u;
    const i32 atLeastOne = seen < 1 ? 1 : seen;
    common[0] = atLeastOne < capacity ? atLeastOne : capacity;
  }
  const i32 common_1 = uniform_load(&common[0]);
  length = common_1;
  float acc_0 = 0.0f;
  float acc_1 = 0.0f;
  float acc_2 = 0.0f;
  float acc_3 = 0.0f;
  for (i32 query = local; query < 4; query += 32u) {
    largest[query] = -3.4e+38f;
    sums[query] = 0.0f;
  }
  for (i32 start = 0; start < length; start += 8u) {
    const i32 count = i32(u32(length) - start) < 8 ? i32(u32(length) - start) : 8;
    float acc_0_1 = 0.0f;
    for (i32 start_1 = 0; start_1 < 16; start_1 += 16u) {
      for (i32 i = threadIdx.x; i < 16; i += 32u) {
        const i32 line = i >> 2;
        const i32 quarter = i & 3;
        const i32 index = line * 5u + quarter;
        float four_0 = 0.0f;
        float four_1 = 0.0f;
        float four_2 = 0.0f;
        float four_3 = 0.0f;
        const i32 i_1 = start_1 + 4u * quarter;
        const i32 i_2 = i_1 < 16 ? i_1 : 15;
        const i32 at_2 = u32(firstQuery) + line;
        four_0 = i_1 < 16 ? q[(u32(batch) * seq + (at_2 < allQueries ? at_2 : i32(allQueries - 1u)) / together) * qStride + (u32(kvHead) * together + i32(u32(firstQuery) + line) % together) * 16u + i_2] : 0.0f;
        const i32 i_3 = start_1 + 4u * quarter + 1u;
        const i32 i_4 = i_3 < 16 ? i_3 : 15;
        const i32 at_3 = u32(firstQuery) + line;
        four_1 = i_3 < 16 ? q[(u32(batch) * seq + (at_3 < allQueries ? at_3 : i32(allQueries - 1u)) / together) * qStride + (u32(kvHead) * together + i32(u32(firstQuery) + line) % together) * 16u + i_4] : 0.0f;
        const i32 i_5 = start_1 + 4u * quarter + 2u;
        const i32 i_6 = i_5 < 16 ? i_5 : 15;
        const i32 at_4 = u32(firstQuery) + line;
        four_2 = i_5 < 16 ? q[(u32(batch) * seq + (at_4 < allQueries ? at_4 : i32(allQueries - 1u)) / together) * qStride + (u32(kvHead) * together + i32(u32(firstQuery) + line) % together) * 16u + i_6] : 0.0f;
        const i32 i_7 = start_1 + 4u * quarter + 3u;
        const i32 i_8 = i_7 < 16 ? i_7 : 15;
        const i32 at_5 = u32(firstQuery) + line;
        four_3 = i_7 < 16 ? q[(u32(batch) * seq + (at_5 < allQueries ? at_5 : i32(allQueries - 1u)) / together) * qStride + (u32(kvHead) * together + i32(u32(firstQuery) + line) % together) * 16u + i_8] : 0.0f;
        stagedRows[index] = make_uint4(__float_as_uint(four_0), __float_as_uint(four_1), __float_as_uint(four_2), __float_as_uint(four_3));
      }
      for (i32 i_9 = threadIdx.x; i_9 < 32; i_9 += 32u) {
        const i32 line_1 = i_9 >> 2;
        const i32 quarter_1 = i_9 & 3;
        const i32 index_1 = line_1 * 5u + quarter_1;
        float four_0_1 = 0.0f;
        float four_1_1 = 0.0f;
        float four_2_1 = 0.0f;
        float four_3_1 = 0.0f;
        const i32 i_10 = start_1 + 4u * quarter_1;
        const i32 i_11 = i_10 < 16 ? i_10 : 15;
        four_0_1 = i_10 < 16 ? keys[(u32(base) + start + (line_1 < count ? line_1 : i32(count - 1u))) * keyStride + kvHead * 16u + i_11] : 0.0f;
        const i32 i_12 = start_1 + 4u * quarter_1 + 1u;
        const i32 i_13 = i_12 < 16 ? i_12 : 15;
        four_1_1 = i_12 < 16 ? keys[(u32(base) + start + (line_1 < count ? line_1 : i32(count - 1u))) * keyStride + kvHead * 16u + i_13] : 0.0f;
        const i32 i_14 = start_1 + 4u * quarter_1 + 2u;
        const i32 i_15 = i_14 < 16 ? i_14 : 15;
        four_2_1 = i_14 < 16 ? keys[(u32(base) + start + (line_1 < count ? line_1 : i32(count - 1u))) * keyStride + kvHead * 16u + i_15] : 0.0f;
        const i32 i_16 = start_1 + 4u * quarter_1 + 3u;
        const i32 i_17 = i_16 < 16 ? i_16 : 15;
        four_3_1 = i_16 < 16 ? keys[(u32(base) + start + (line_1 < count ? line_1 : i32(count - 1u))) * keyStride + kvHead * 16u + i_17] : 0.0f;
        stagedColumns[index_1] = make_uint4(__float_as_uint(four_0_1), __float_as_uint(four_1_1), __float_as_uint(four_2_1), __float_as_uint(four_3_1));
      }
      __syncthreads();
      const uint4 zero = make_uint4(0u, 0u, 0u, 0u);
      const i32 row = i32(threadIdx.x) / 8;
      const i32 column = i32(threadIdx.x) % 8;
      uint4 rows_0 = zero;
      uint4 columns_0 = zero;
      for (i32 quarter_2 = 0; quarter_2 < 4; quarter_2 += 1u) {
        rows_0 = stagedRows[row * 5u + quarter_2];
        columns_0 = stagedColumns[column * 5u + quarter_2];
        const float left = __uint_as_float(rows_0.x);
        acc_0_1 += __fmul_rn(left, __uint_as_float(columns_0.x));
        const float left_1 = __uint_as_float(rows_0.y);
        acc_0_1 += __fmul_rn(left_1, __uint_as_float(columns_0.y));
        const float left_2 = __uint_as_float(rows_0.z);
        acc_0_1 += __fmul_rn(left_2, __uint_as_float(columns_0.z));
        const float left_3 = __uint_as_float(rows_0.w);
        acc_0_1 += __fmul_rn(left_3, __uint_as_float(columns_0.w));
      }
      __syncthreads();
    }
    const i32 row_1 = i32(threadIdx.x) / 8;
    const i32 column_1 = i32(threadIdx.x) % 8;
    const float score = acc_0_1;
    scores[row_1 * 9u + column_1] = __fmul_rn(score, scale);
    __syncthreads();
    for (i32 query_1 = local; query_1 < 4; query_1 += 32u) {
      const i32 at_6 = u32(firstQuery) + query_1;
      const i32 t_1 = (at_6 < allQueries ? at_6 : i32(allQueries - 1u)) / together;
      const i32 seen_1 = u32(positions[batch]) + t_1 + 1u;
      const i32 atLeastOne_1 = seen_1 < 1 ? 1 : seen_1;
      const i32 visible = u32(atLeastOne_1 < capacity ? atLeastOne_1 : capacity) - start;
      const i32 from = query_1 * 9u;
      const float before = largest[query_1];
      float now = before;
      for (i32 key = 0; key < count; key += 1u) {
        if (key < visible) {
          now = maximum(now, scores[u32(from) + key]);
        }
      }
      const float exp = math_exp(before - now);
      const float factor = exp;
      float sum = __fmul_rn(sums[query_1], factor);
      for (i32 key_1 = 0; key_1 < count; key_1 += 1u) {
        float weight = 0.0f;
        if (key_1 < visible) {
          const float exp_1 = math_exp(scores[u32(from) + key_1] - now);
          weight = exp_1;
        }
        scores[u32(from) + key_1] = weight;
        sum += weight;
      }
      largest[query_1] = now;
      sums[query_1] = sum;
      factors[query_1] = factor;
    }
    __syncthreads();
    acc_0 = __fmul_rn(acc_0, factors[0]);
    acc_1 = __fmul_rn(acc_1, factors[1]);
    acc_2 = __fmul_rn(acc_2, factors[2]);
    acc_3 = __fmul_rn(acc_3, factors[3]);
    for (i32 key_2 = 0; key_2 < count; key_2 += 1u) {
      const i32 from_1 = (u32(base) + start + key_2) * valueStride + kvHead * 16u;
      const i32 i_18 = local;
      const float value = values[u32(from_1) + (i_18 < 16 ? i_18 : 15)];
      acc_0 += __fmul_rn(scores[key_2], value);
      acc_1 += __fmul_rn(scores[9u + key_2], value);
      acc_2 += __fmul_rn(scores[18u + key_2], value);
      acc_3 += __fmul_rn(scores[27u + key_2], value);
    }
  }
  if (firstQuery < allQueries) {
    const i32 at_7 = firstQuery;
    const i32 to = ((u32(batch) * seq + (at_7 < allQueries ? at_7 : i32(allQueries - 1u)) / together) * heads + (u32(kvHead) * together + firstQuery % together)) * 16u;
    const i32 i_19 = local;
    if (i_19 < 16) {
      out[u32(to) + i_19] = __fdiv_rn(acc_0, sums[0]);
    }
  }
  if (i32(firstQuery + 1u) < allQueries) {
    const i32 at_8 = firstQuery + 1u;
    const i32 to_1 = ((u32(batch) * seq + (at_8 < allQueries ? at_8 : i32(allQueries - 1u)) / together) * heads + (u32(kvHead) * together + i32(firstQuery + 1u) % together)) * 16u;
    const i32 i_20 = local;
    if (i_20 < 16) {
      out[u32(to_1) + i_20] = __fdiv_rn(acc_1, sums[1]);
    }
  }
  if (i32(firstQuery + 2u) < allQueries) {
    const i32 at_9 = firstQuery + 2u;
    const i32 to_2 = ((u32(batch) * seq + (at_9 < allQueries ? at_9 : i32(allQueries - 1u)) / together) * heads + (u32(kvHead) * together + i32(firstQuery + 2u) % together)) * 16u;
    const i32 i_21 = local;
    if (i_21 < 16) {
      out[u32(to_2) + i_21] = __fdiv_rn(acc_2, sums[2]);
    }
  }
  if (i32(firstQuery + 3u) < allQueries) {
    const i32 at_10 = firstQuery + 3u;
    const i32 to_3 = ((u32(batch) * seq + (at_10 < allQueries ? at_10 : i32(allQueries - 1u)) / together) * heads + (u32(kvHead) * together + i32(firstQuery + 3u) % together)) * 16u;
    const i32 i_22 = local;
    if (i_22 < 16) {
      out[u32(to_3) + i_22] = __fdiv_rn(acc_3, sums[3]);
    }
  }
}

}  // namespace attention
