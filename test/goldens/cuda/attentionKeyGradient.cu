using i32 = int;
using u32 = unsigned int;

namespace attentionKeyGradient {

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

// dk = sum ds * q and dv = sum p * g over the queries that see a key.
extern "C" __global__ void __launch_bounds__(32) attentionKeyGradient(
  const float* __restrict__ q,
  const float* __restrict__ keys,
  const float* __restrict__ values,
  const float* __restrict__ g,
  const uint4* __restrict__ statistics,
  float* __restrict__ dk,
  float* __restrict__ dv,
  const i32 seq,
  const i32 heads,
  const i32 kvHeads,
  const i32 dim,
  const i32 qStride,
  const i32 keyStride,
  const i32 valueStride,
  const i32 gStride,
  const float scale
) {
  __shared__ float scores[36];
  __shared__ float slopes[36];
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  __shared__ uint4 stagedRows_1[20];
  __shared__ uint4 stagedColumns_1[40];
  const i32 together = heads / kvHeads;
  const i32 queries = u32(seq) * together;
  const i32 batch = i32(blockIdx.y) / kvHeads;
  const i32 kvHead = blockIdx.y - u32(batch) * kvHeads;
  const i32 firstKey = blockIdx.x * 8u;
  float keySums_0 = 0.0f;
  float keySums_1 = 0.0f;
  float keySums_2 = 0.0f;
  float keySums_3 = 0.0f;
  float keySums_4 = 0.0f;
  float keySums_5 = 0.0f;
  float keySums_6 = 0.0f;
  float keySums_7 = 0.0f;
  float valueSums_0 = 0.0f;
  float valueSums_1 = 0.0f;
  float valueSums_2 = 0.0f;
  float valueSums_3 = 0.0f;
  float valueSums_4 = 0.0f;
  float valueSums_5 = 0.0f;
  float valueSums_6 = 0.0f;
  float valueSums_7 = 0.0f;
  for (i32 start = u32(firstKey) * together; start < queries; start += 4u) {
    float acc_0 = 0.0f;
    for (i32 start_1 = 0; start_1 < dim; start_1 += 16u) {
      for (i32 i = threadIdx.x; i < 16; i += 32u) {
        const i32 line = i >> 2;
        const i32 quarter = i & 3;
        const i32 index = line * 5u + quarter;
        float four_0 = 0.0f;
        float four_1 = 0.0f;
        float four_2 = 0.0f;
        float four_3 = 0.0f;
        const i32 i_1 = start_1 + 4u * quarter;
        const i32 i_2 = i_1 < dim ? i_1 : i32(dim - 1u);
        const i32 query = u32(start) + line;
        const i32 known = query < queries ? query : i32(queries - 1u);
        const i32 t = known / together;
        four_0 = i_1 < dim ? q[(u32(batch) * seq + t) * qStride + (u32(kvHead) * together + known - u32(t) * together) * dim + i_2] : 0.0f;
        const i32 i_3 = start_1 + 4u * quarter + 1u;
        const i32 i_4 = i_3 < dim ? i_3 : i32(dim - 1u);
        const i32 query_1 = u32(start) + line;
        const i32 known_1 = query_1 < queries ? query_1 : i32(queries - 1u);
        const i32 t_1 = known_1 / together;
        four_1 = i_3 < dim ? q[(u32(batch) * seq + t_1) * qStride + (u32(kvHead) * together + known_1 - u32(t_1) * together) * dim + i_4] : 0.0f;
        const i32 i_5 = start_1 + 4u * quarter + 2u;
        const i32 i_6 = i_5 < dim ? i_5 : i32(dim - 1u);
        const i32 query_2 = u32(start) + line;
        const i32 known_2 = query_2 < queries ? query_2 : i32(queries - 1u);
        const i32 t_2 = known_2 / together;
        four_2 = i_5 < dim ? q[(u32(batch) * seq + t_2) * qStride + (u32(kvHead) * together + known_2 - u32(t_2) * together) * dim + i_6] : 0.0f;
        const i32 i_7 = start_1 + 4u * quarter + 3u;
        const i32 i_8 = i_7 < dim ? i_7 : i32(dim - 1u);
        const i32 query_3 = u32(start) + line;
        const i32 known_3 = query_3 < queries ? query_3 : i32(queries - 1u);
        const i32 t_3 = known_3 / together;
        four_3 = i_7 < dim ? q[(u32(batch) * seq + t_3) * qStride + (u32(kvHead) * together + known_3 - u32(t_3) * together) * dim + i_8] : 0.0f;
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
        const i32 i_11 = i_10 < dim ? i_10 : i32(dim - 1u);
        const i32 key = u32(firstKey) + line_1;
        four_0_1 = i_10 < dim ? keys[(u32(batch) * seq + (key < seq ? key : i32(seq - 1u))) * keyStride + u32(kvHead) * dim + i_11] : 0.0f;
        const i32 i_12 = start_1 + 4u * quarter_1 + 1u;
        const i32 i_13 = i_12 < dim ? i_12 : i32(dim - 1u);
        const i32 key_1 = u32(firstKey) + line_1;
        four_1_1 = i_12 < dim ? keys[(u32(batch) * seq + (key_1 < seq ? key_1 : i32(seq - 1u))) * keyStride + u32(kvHead) * dim + i_13] : 0.0f;
        const i32 i_14 = start_1 + 4u * quarter_1 + 2u;
        const i32 i_15 = i_14 < dim ? i_14 : i32(dim - 1u);
        const i32 key_2 = u32(firstKey) + line_1;
        four_2_1 = i_14 < dim ? keys[(u32(batch) * seq + (key_2 < seq ? key_2 : i32(seq - 1u))) * keyStride + u32(kvHead) * dim + i_15] : 0.0f;
        const i32 i_16 = start_1 + 4u * quarter_1 + 3u;
        const i32 i_17 = i_16 < dim ? i_16 : i32(dim - 1u);
        const i32 key_3 = u32(firstKey) + line_1;
        four_3_1 = i_16 < dim ? keys[(u32(batch) * seq + (key_3 < seq ? key_3 : i32(seq - 1u))) * keyStride + u32(kvHead) * dim + i_17] : 0.0f;
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
        acc_0 += __fmul_rn(left, __uint_as_float(columns_0.x));
        const float left_1 = __uint_as_float(rows_0.y);
        acc_0 += __fmul_rn(left_1, __uint_as_float(columns_0.y));
        const float left_2 = __uint_as_float(rows_0.z);
        acc_0 += __fmul_rn(left_2, __uint_as_float(columns_0.z));
        const float left_3 = __uint_as_float(rows_0.w);
        acc_0 += __fmul_rn(left_3, __uint_as_float(columns_0.w));
      }
      __syncthreads();
    }
    const i32 row_1 = i32(threadIdx.x) / 8;
    const i32 column_1 = i32(threadIdx.x) % 8;
    const float score = acc_0;
    scores[row_1 * 9u + column_1] = __fmul_rn(score, scale);
    float acc_0_1 = 0.0f;
    for (i32 start_2 = 0; start_2 < dim; start_2 += 16u) {
      for (i32 i_18 = threadIdx.x; i_18 < 16; i_18 += 32u) {
        const i32 line_2 = i_18 >> 2;
        const i32 quarter_3 = i_18 & 3;
        const i32 index_2 = line_2 * 5u + quarter_3;
        float four_0_2 = 0.0f;
        float four_1_2 = 0.0f;
        float four_2_2 = 0.0f;
        float four_3_2 = 0.0f;
        const i32 i_19 = start_2 + 4u * quarter_3;
        const i32 i_20 = i_19 < dim ? i_19 : i32(dim - 1u);
        const i32 query_4 = u32(start) + line_2;
        const i32 known_4 = query_4 < queries ? query_4 : i32(queries - 1u);
        const i32 t_4 = known_4 / together;
        four_0_2 = i_19 < dim ? g[(u32(batch) * seq + t_4) * gStride + (u32(kvHead) * together + known_4 - u32(t_4) * together) * dim + i_20] : 0.0f;
        const i32 i_21 = start_2 + 4u * quarter_3 + 1u;
        const i32 i_22 = i_21 < dim ? i_21 : i32(dim - 1u);
        const i32 query_5 = u32(start) + line_2;
        const i32 known_5 = query_5 < queries ? query_5 : i32(queries - 1u);
        const i32 t_5 = known_5 / together;
        four_1_2 = i_21 < dim ? g[(u32(batch) * seq + t_5) * gStride + (u32(kvHead) * together + known_5 - u32(t_5) * together) * dim + i_22] : 0.0f;
        const i32 i_23 = start_2 + 4u * quarter_3 + 2u;
        const i32 i_24 = i_23 < dim ? i_23 : i32(dim - 1u);
        const i32 query_6 = u32(start) + line_2;
        const i32 known_6 = query_6 < queries ? query_6 : i32(queries - 1u);
        const i32 t_6 = known_6 / together;
        four_2_2 = i_23 < dim ? g[(u32(batch) * seq + t_6) * gStride + (u32(kvHead) * together + known_6 - u32(t_6) * together) * dim + i_24] : 0.0f;
        const i32 i_25 = start_2 + 4u * quarter_3 + 3u;
        const i32 i_26 = i_25 < dim ? i_25 : i32(dim - 1u);
        const i32 query_7 = u32(start) + line_2;
        const i32 known_7 = query_7 < queries ? query_7 : i32(queries - 1u);
        const i32 t_7 = known_7 / together;
        four_3_2 = i_25 < dim ? g[(u32(batch) * seq + t_7) * gStride + (u32(kvHead) * together + known_7 - u32(t_7) * together) * dim + i_26] : 0.0f;
        stagedRows_1[index_2] = make_uint4(__float_as_uint(four_0_2), __float_as_uint(four_1_2), __float_as_uint(four_2_2), __float_as_uint(four_3_2));
      }
      for (i32 i_27 = threadIdx.x; i_27 < 32; i_27 += 32u) {
        const i32 line_3 = i_27 >> 2;
        const i32 quarter_4 = i_27 & 3;
        const i32 index_3 = line_3 * 5u + quarter_4;
        float four_0_3 = 0.0f;
        float four_1_3 = 0.0f;
        float four_2_3 = 0.0f;
        float four_3_3 = 0.0f;
        const i32 i_28 = start_2 + 4u * quarter_4;
        const i32 i_29 = i_28 < dim ? i_28 : i32(dim - 1u);
        const i32 key_4 = u32(firstKey) + line_3;
        four_0_3 = i_28 < dim ? values[(u32(batch) * seq + (key_4 < seq ? key_4 : i32(seq - 1u))) * valueStride + u32(kvHead) * dim + i_29] : 0.0f;
        const i32 i_30 = start_2 + 4u * quarter_4 + 1u;
        const i32 i_31 = i_30 < dim ? i_30 : i32(dim - 1u);
        const i32 key_5 = u32(firstKey) + line_3;
        four_1_3 = i_30 < dim ? values[(u32(batch) * seq + (key_5 < seq ? key_5 : i32(seq - 1u))) * valueStride + u32(kvHead) * dim + i_31] : 0.0f;
        const i32 i_32 = start_2 + 4u * quarter_4 + 2u;
        const i32 i_33 = i_32 < dim ? i_32 : i32(dim - 1u);
        const i32 key_6 = u32(firstKey) + line_3;
        four_2_3 = i_32 < dim ? values[(u32(batch) * seq + (key_6 < seq ? key_6 : i32(seq - 1u))) * valueStride + u32(kvHead) * dim + i_33] : 0.0f;
        const i32 i_34 = start_2 + 4u * quarter_4 + 3u;
        const i32 i_35 = i_34 < dim ? i_34 : i32(dim - 1u);
        const i32 key_7 = u32(firstKey) + line_3;
        four_3_3 = i_34 < dim ? values[(u32(batch) * seq + (key_7 < seq ? key_7 : i32(seq - 1u))) * valueStride + u32(kvHead) * dim + i_35] : 0.0f;
        stagedColumns_1[index_3] = make_uint4(__float_as_uint(four_0_3), __float_as_uint(four_1_3), __float_as_uint(four_2_3), __float_as_uint(four_3_3));
      }
      __syncthreads();
      const uint4 zero_1 = make_uint4(0u, 0u, 0u, 0u);
      const i32 row_2 = i32(threadIdx.x) / 8;
      const i32 column_2 = i32(threadIdx.x) % 8;
      uint4 rows_0_1 = zero_1;
      uint4 columns_0_1 = zero_1;
      for (i32 quarter_5 = 0; quarter_5 < 4; quarter_5 += 1u) {
        rows_0_1 = stagedRows_1[row_2 * 5u + quarter_5];
        columns_0_1 = stagedColumns_1[column_2 * 5u + quarter_5];
        const float left_4 = __uint_as_float(rows_0_1.x);
        acc_0_1 += __fmul_rn(left_4, __uint_as_float(columns_0_1.x));
        const float left_5 = __uint_as_float(rows_0_1.y);
        acc_0_1 += __fmul_rn(left_5, __uint_as_float(columns_0_1.y));
        const float left_6 = __uint_as_float(rows_0_1.z);
        acc_0_1 += __fmul_rn(left_6, __uint_as_float(columns_0_1.z));
        const float left_7 = __uint_as_float(rows_0_1.w);
        acc_0_1 += __fmul_rn(left_7, __uint_as_float(columns_0_1.w));
      }
      __syncthreads();
    }
    const i32 row_3 = i32(threadIdx.x) / 8;
    const i32 column_3 = i32(threadIdx.x) % 8;
    const float dp = acc_0_1;
    slopes[row_3 * 9u + column_3] = dp;
    __syncthreads();
    for (i32 pair = threadIdx.x; pair < 32; pair += 32u) {
      const i32 query_8 = u32(start) + pair / 8;
      const i32 key_8 = u32(firstKey) + pair % 8;
      const i32 place = pair / 8 * 9u + pair % 8;
      const i32 known_8 = query_8 < queries ? query_8 : i32(queries - 1u);
      const i32 t_8 = known_8 / together;
      const uint4 known_9 = statistics[(u32(batch) * seq + t_8) * heads + (u32(kvHead) * together + known_8 - u32(t_8) * together)];
      const float exp = math_exp(scores[place] - __uint_as_float(known_9.x));
      const float p = __fmul_rn(exp, __uint_as_float(known_9.y));
      const float ds = __fmul_rn(scale, __fmul_rn(p, slopes[place] - __uint_as_float(known_9.z) - __uint_as_float(known_9.w)));
      const bool seen = query_8 < queries && key_8 <= query_8 / together;
      scores[place] = seen ? p : 0.0f;
      slopes[place] = seen ? ds : 0.0f;
    }
    __syncthreads();
    const i32 count = i32(u32(queries) - start) < 4 ? i32(u32(queries) - start) : 4;
    for (i32 query_9 = 0; query_9 < count; query_9 += 1u) {
      const i32 query_10 = u32(start) + query_9;
      const i32 known_10 = query_10 < queries ? query_10 : i32(queries - 1u);
      const i32 t_9 = known_10 / together;
      const i32 fromQuery = (u32(batch) * seq + t_9) * qStride + (u32(kvHead) * together + known_10 - u32(t_9) * together) * dim;
      const i32 query_11 = u32(start) + query_9;
      const i32 known_11 = query_11 < queries ? query_11 : i32(queries - 1u);
      const i32 t_10 = known_11 / together;
      const i32 fromGradient = (u32(batch) * seq + t_10) * gStride + (u32(kvHead) * together + known_11 - u32(t_10) * together) * dim;
      const i32 i_36 = threadIdx.x;
      const float value = q[u32(fromQuery) + (i_36 < dim ? i_36 : i32(dim - 1u))];
      const float gradient = g[u32(fromGradient) + (i_36 < dim ? i_36 : i32(dim - 1u))];
      keySums_0 += __fmul_rn(slopes[query_9 * 9u], value);
      valueSums_0 += __fmul_rn(scores[query_9 * 9u], gradient);
      keySums_1 += __fmul_rn(slopes[query_9 * 9u + 1u], value);
      valueSums_1 += __fmul_rn(scores[query_9 * 9u + 1u], gradient);
      keySums_2 += __fmul_rn(slopes[query_9 * 9u + 2u], value);
      valueSums_2 += __fmul_rn(scores[query_9 * 9u + 2u], gradient);
      keySums_3 += __fmul_rn(slopes[query_9 * 9u + 3u], value);
      valueSums_3 += __fmul_rn(scores[query_9 * 9u + 3u], gradient);
      keySums_4 += __fmul_rn(slopes[query_9 * 9u + 4u], value);
      valueSums_4 += __fmul_rn(scores[query_9 * 9u + 4u], gradient);
      keySums_5 += __fmul_rn(slopes[query_9 * 9u + 5u], value);
      valueSums_5 += __fmul_rn(scores[query_9 * 9u + 5u], gradient);
      keySums_6 += __fmul_rn(slopes[query_9 * 9u + 6u], value);
      valueSums_6 += __fmul_rn(scores[query_9 * 9u + 6u], gradient);
      keySums_7 += __fmul_rn(slopes[query_9 * 9u + 7u], value);
      valueSums_7 += __fmul_rn(scores[query_9 * 9u + 7u], gradient);
    }
  }
  if (firstKey < seq) {
    const i32 stride = u32(kvHeads) * dim;
    const i32 to = (u32(batch) * seq + (firstKey < seq ? firstKey : i32(seq - 1u))) * stride + u32(kvHead) * dim;
    const i32 i_37 = threadIdx.x;
    if (i_37 < dim) {
      dk[u32(to) + i_37] = keySums_0;
      dv[u32(to) + i_37] = valueSums_0;
    }
  }
  if (i32(firstKey + 1u) < seq) {
    const i32 key_9 = firstKey + 1u;
    const i32 stride_1 = u32(kvHeads) * dim;
    const i32 to_1 = (u32(batch) * seq + (key_9 < seq ? key_9 : i32(seq - 1u))) * stride_1 + u32(kvHead) * dim;
    const i32 i_38 = threadIdx.x;
    if (i_38 < dim) {
      dk[u32(to_1) + i_38] = keySums_1;
      dv[u32(to_1) + i_38] = valueSums_1;
    }
  }
  if (i32(firstKey + 2u) < seq) {
    const i32 key_10 = firstKey + 2u;
    const i32 stride_2 = u32(kvHeads) * dim;
    const i32 to_2 = (u32(batch) * seq + (key_10 < seq ? key_10 : i32(seq - 1u))) * stride_2 + u32(kvHead) * dim;
    const i32 i_39 = threadIdx.x;
    if (i_39 < dim) {
      dk[u32(to_2) + i_39] = keySums_2;
      dv[u32(to_2) + i_39] = valueSums_2;
    }
  }
  if (i32(firstKey + 3u) < seq) {
    const i32 key_11 = firstKey + 3u;
    const i32 stride_3 = u32(kvHeads) * dim;
    const i32 to_3 = (u32(batch) * seq + (key_11 < seq ? key_11 : i32(seq - 1u))) * stride_3 + u32(kvHead) * dim;
    const i32 i_40 = threadIdx.x;
    if (i_40 < dim) {
      dk[u32(to_3) + i_40] = keySums_3;
      dv[u32(to_3) + i_40] = valueSums_3;
    }
  }
  if (i32(firstKey + 4u) < seq) {
    const i32 key_12 = firstKey + 4u;
    const i32 stride_4 = u32(kvHeads) * dim;
    const i32 to_4 = (u32(batch) * seq + (key_12 < seq ? key_12 : i32(seq - 1u))) * stride_4 + u32(kvHead) * dim;
    const i32 i_41 = threadIdx.x;
    if (i_41 < dim) {
      dk[u32(to_4) + i_41] = keySums_4;
      dv[u32(to_4) + i_41] = valueSums_4;
    }
  }
  if (i32(firstKey + 5u) < seq) {
    const i32 key_13 = firstKey + 5u;
    const i32 stride_5 = u32(kvHeads) * dim;
    const i32 to_5 = (u32(batch) * seq + (key_13 < seq ? key_13 : i32(seq - 1u))) * stride_5 + u32(kvHead) * dim;
    const i32 i_42 = threadIdx.x;
    if (i_42 < dim) {
      dk[u32(to_5) + i_42] = keySums_5;
      dv[u32(to_5) + i_42] = valueSums_5;
    }
  }
  if (i32(firstKey + 6u) < seq) {
    const i32 key_14 = firstKey + 6u;
    const i32 stride_6 = u32(kvHeads) * dim;
    const i32 to_6 = (u32(batch) * seq + (key_14 < seq ? key_14 : i32(seq - 1u))) * stride_6 + u32(kvHead) * dim;
    const i32 i_43 = threadIdx.x;
    if (i_43 < dim) {
      dk[u32(to_6) + i_43] = keySums_6;
      dv[u32(to_6) + i_43] = valueSums_6;
    }
  }
  if (i32(firstKey + 7u) < seq) {
    const i32 key_15 = firstKey + 7u;
    const i32 stride_7 = u32(kvHeads) * dim;
    const i32 to_7 = (u32(batch) * seq + (key_15 < seq ? key_15 : i32(seq - 1u))) * stride_7 + u32(kvHead) * dim;
    const i32 i_44 = threadIdx.x;
    if (i_44 < dim) {
      dk[u32(to_7) + i_44] = keySums_7;
      dv[u32(to_7) + i_44] = valueSums_7;
    }
  }
}

}  // namespace attentionKeyGradient
