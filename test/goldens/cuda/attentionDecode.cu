using i32 = int;
using u32 = unsigned int;

namespace attentionDecode {

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

// Causal attention of one new query per sequence over a cache, with grouped queries and softmax in
// f32.
extern "C" __global__ void __launch_bounds__(32) attentionDecode(
  const float* __restrict__ q,
  const float* __restrict__ cos,
  const float* __restrict__ sin,
  uint4* __restrict__ keys,
  uint4* __restrict__ values,
  const i32* __restrict__ slots,
  const i32* __restrict__ positions,
  float* __restrict__ out,
  const i32 kvHeads,
  const i32 capacity,
  const i32 length,
  const i32 qStride,
  const i32 qOffset,
  const i32 keyOffset,
  const i32 valueOffset,
  const float scale
) {
  __shared__ uint4 queries[4];
  __shared__ uint4 newKey[4];
  __shared__ uint4 newValue[4];
  __shared__ float scores[32];
  __shared__ float exchange[128];
  __shared__ i32 common[3];
  const i32 local = threadIdx.x;
  const i32 batch = i32(blockIdx.y) / kvHeads;
  const i32 kvHead = i32(blockIdx.y) % kvHeads;
  if (local == 0) {
    const i32 seen = positions[batch] + 1u;
    const i32 atLeastOne = seen < 1 ? 1 : seen;
    common[0] = atLeastOne < capacity ? atLeastOne : capacity;
    common[1] = slots[batch];
    common[2] = positions[batch];
  }
  const i32 common_1 = uniform_load(&common[0]);
  const i32 visible = common_1;
  const i32 common_2 = uniform_load(&common[1]);
  const i32 slot = common_2;
  const i32 start = blockIdx.x * 32u;
  if (start < visible) {
    const i32 count = i32(u32(visible) - start) < 32 ? i32(u32(visible) - start) : 32;
    const i32 rowWords = kvHeads * 4u;
    const i32 base = (u32(slot) * capacity + start) * rowWords + kvHead * 4u;
    const i32 common_3 = uniform_load(&common[2]);
    const i32 position = common_3;
    const i32 row = u32(batch) * qStride;
    for (i32 i = local; i < 4; i += 32u) {
      const i32 from = u32(row) + qOffset + (u32(kvHead) + i / 4) * 16u;
      const i32 quad = i % 4;
      const i32 e = 4u * quad;
      const i32 pair = e < 8 ? e : i32(e - 8u);
      const i32 clamped = position < length ? position : i32(length - 1u);
      const i32 angle = (clamped < 0 ? 0 : clamped) * 8u + pair;
      const float c = cos[angle];
      const float s = sin[angle];
      const float low = q[u32(from) + pair];
      const float high = q[u32(from) + pair + 8u];
      const i32 e_1 = 4u * quad + 1u;
      const i32 pair_1 = e_1 < 8 ? e_1 : i32(e_1 - 8u);
      const i32 clamped_1 = position < length ? position : i32(length - 1u);
      const i32 angle_1 = (clamped_1 < 0 ? 0 : clamped_1) * 8u + pair_1;
      const float c_1 = cos[angle_1];
      const float s_1 = sin[angle_1];
      const float low_1 = q[u32(from) + pair_1];
      const float high_1 = q[u32(from) + pair_1 + 8u];
      const i32 e_2 = 4u * quad + 2u;
      const i32 pair_2 = e_2 < 8 ? e_2 : i32(e_2 - 8u);
      const i32 clamped_2 = position < length ? position : i32(length - 1u);
      const i32 angle_2 = (clamped_2 < 0 ? 0 : clamped_2) * 8u + pair_2;
      const float c_2 = cos[angle_2];
      const float s_2 = sin[angle_2];
      const float low_2 = q[u32(from) + pair_2];
      const float high_2 = q[u32(from) + pair_2 + 8u];
      const i32 e_3 = 4u * quad + 3u;
      const i32 pair_3 = e_3 < 8 ? e_3 : i32(e_3 - 8u);
      const i32 clamped_3 = position < length ? position : i32(length - 1u);
      const i32 angle_3 = (clamped_3 < 0 ? 0 : clamped_3) * 8u + pair_3;
      const float c_3 = cos[angle_3];
      const float s_3 = sin[angle_3];
      const float low_3 = q[u32(from) + pair_3];
      const float high_3 = q[u32(from) + pair_3 + 8u];
      queries[i] = make_uint4(__float_as_uint(e < 8 ? __fmul_rn(low, c) - __fmul_rn(high, s) : __fmul_rn(high, c) + __fmul_rn(low, s)), __float_as_uint(e_1 < 8 ? __fmul_rn(low_1, c_1) - __fmul_rn(high_1, s_1) : __fmul_rn(high_1, c_1) + __fmul_rn(low_1, s_1)), __float_as_uint(e_2 < 8 ? __fmul_rn(low_2, c_2) - __fmul_rn(high_2, s_2) : __fmul_rn(high_2, c_2) + __fmul_rn(low_2, s_2)), __float_as_uint(e_3 < 8 ? __fmul_rn(low_3, c_3) - __fmul_rn(high_3, s_3) : __fmul_rn(high_3, c_3) + __fmul_rn(low_3, s_3)));
    }
    const i32 mine = u32(position) - start;
    if (mine >= 0 && mine < 32 && position < capacity) {
      for (i32 i_1 = local; i_1 < 4; i_1 += 32u) {
        const i32 e_4 = 4u * i_1;
        const i32 from_1 = u32(row) + keyOffset + kvHead * 16u;
        const i32 pair_4 = e_4 < 8 ? e_4 : i32(e_4 - 8u);
        const i32 clamped_4 = position < length ? position : i32(length - 1u);
        const i32 angle_4 = (clamped_4 < 0 ? 0 : clamped_4) * 8u + pair_4;
        const float c_4 = cos[angle_4];
        const float s_4 = sin[angle_4];
        const float low_4 = q[u32(from_1) + pair_4];
        const float high_4 = q[u32(from_1) + pair_4 + 8u];
        const i32 e_5 = 4u * i_1 + 1u;
        const i32 from_2 = u32(row) + keyOffset + kvHead * 16u;
        const i32 pair_5 = e_5 < 8 ? e_5 : i32(e_5 - 8u);
        const i32 clamped_5 = position < length ? position : i32(length - 1u);
        const i32 angle_5 = (clamped_5 < 0 ? 0 : clamped_5) * 8u + pair_5;
        const float c_5 = cos[angle_5];
        const float s_5 = sin[angle_5];
        const float low_5 = q[u32(from_2) + pair_5];
        const float high_5 = q[u32(from_2) + pair_5 + 8u];
        const i32 e_6 = 4u * i_1 + 2u;
        const i32 from_3 = u32(row) + keyOffset + kvHead * 16u;
        const i32 pair_6 = e_6 < 8 ? e_6 : i32(e_6 - 8u);
        const i32 clamped_6 = position < length ? position : i32(length - 1u);
        const i32 angle_6 = (clamped_6 < 0 ? 0 : clamped_6) * 8u + pair_6;
        const float c_6 = cos[angle_6];
        const float s_6 = sin[angle_6];
        const float low_6 = q[u32(from_3) + pair_6];
        const float high_6 = q[u32(from_3) + pair_6 + 8u];
        const i32 e_7 = 4u * i_1 + 3u;
        const i32 from_4 = u32(row) + keyOffset + kvHead * 16u;
        const i32 pair_7 = e_7 < 8 ? e_7 : i32(e_7 - 8u);
        const i32 clamped_7 = position < length ? position : i32(length - 1u);
        const i32 angle_7 = (clamped_7 < 0 ? 0 : clamped_7) * 8u + pair_7;
        const float c_7 = cos[angle_7];
        const float s_7 = sin[angle_7];
        const float low_7 = q[u32(from_4) + pair_7];
        const float high_7 = q[u32(from_4) + pair_7 + 8u];
        const uint4 key = make_uint4(__float_as_uint(e_4 < 8 ? __fmul_rn(low_4, c_4) - __fmul_rn(high_4, s_4) : __fmul_rn(high_4, c_4) + __fmul_rn(low_4, s_4)), __float_as_uint(e_5 < 8 ? __fmul_rn(low_5, c_5) - __fmul_rn(high_5, s_5) : __fmul_rn(high_5, c_5) + __fmul_rn(low_5, s_5)), __float_as_uint(e_6 < 8 ? __fmul_rn(low_6, c_6) - __fmul_rn(high_6, s_6) : __fmul_rn(high_6, c_6) + __fmul_rn(low_6, s_6)), __float_as_uint(e_7 < 8 ? __fmul_rn(low_7, c_7) - __fmul_rn(high_7, s_7) : __fmul_rn(high_7, c_7) + __fmul_rn(low_7, s_7)));
        const i32 e_8 = 4u * i_1;
        const i32 e_9 = 4u * i_1 + 1u;
        const i32 e_10 = 4u * i_1 + 2u;
        const i32 e_11 = 4u * i_1 + 3u;
        const uint4 value = make_uint4(__float_as_uint(q[u32(row) + valueOffset + kvHead * 16u + e_8]), __float_as_uint(q[u32(row) + valueOffset + kvHead * 16u + e_9]), __float_as_uint(q[u32(row) + valueOffset + kvHead * 16u + e_10]), __float_as_uint(q[u32(row) + valueOffset + kvHead * 16u + e_11]));
        newKey[i_1] = key;
        newValue[i_1] = value;
        keys[base + u32(mine) * rowWords + i_1] = key;
        values[base + u32(mine) * rowWords + i_1] = value;
      }
    }
    __syncthreads();
    const i32 lane = local % 4;
    for (i32 first = 0; first < 32; first += 8u) {
      const i32 key_1 = u32(first) + local / 4;
      const i32 valid = key_1 < count ? key_1 : i32(count - 1u);
      float dots_0 = 0.0f;
      for (i32 quad_1 = lane; quad_1 < 4; quad_1 += 4u) {
        uint4 word = newKey[quad_1];
        if (i32(u32(start) + valid) != position) {
          word = keys[base + u32(valid) * rowWords + quad_1];
        }
        const uint4 k = word;
        const uint4 x = queries[quad_1];
        dots_0 += __fmul_rn(__uint_as_float(x.x), __uint_as_float(k.x));
        dots_0 += __fmul_rn(__uint_as_float(x.y), __uint_as_float(k.y));
        dots_0 += __fmul_rn(__uint_as_float(x.z), __uint_as_float(k.z));
        dots_0 += __fmul_rn(__uint_as_float(x.w), __uint_as_float(k.w));
      }
      float dot = dots_0;
      dot += __shfl_xor_sync(0xffffffffu, dot, 1u);
      dot += __shfl_xor_sync(0xffffffffu, dot, 2u);
      if (lane == 0) {
        scores[key_1] = key_1 < count ? __fmul_rn(dot, scale) : -3.4e+38f;
      }
    }
    __syncthreads();
    float largest_0 = 0.0f;
    float sums_0 = 0.0f;
    float most = -3.4e+38f;
    for (i32 key_2 = local; key_2 < count; key_2 += 32u) {
      most = maximum(most, scores[key_2]);
    }
    const float value_1 = most;
    const float partial = warp_max(value_1);
    if (i32(threadIdx.x % 32u) == 0) {
      exchange[threadIdx.x / 32u] = partial;
    }
    __syncthreads();
    const i32 count_1 = 1;
    float rest = -3.4e+38f;
    for (i32 slot_1 = threadIdx.x % 32u; slot_1 < count_1; slot_1 += 32u) {
      const float value_2 = rest;
      const float value_3 = exchange[slot_1];
      rest = value_2 > value_3 ? value_2 : value_3;
    }
    const float value_4 = rest;
    const float total = warp_max(value_4);
    __syncthreads();
    largest_0 = total;
    float sum = 0.0f;
    for (i32 key_3 = local; key_3 < count; key_3 += 32u) {
      const float exp = math_exp(scores[key_3] - largest_0);
      const float weight = exp;
      scores[key_3] = weight;
      sum += weight;
    }
    const float value_5 = sum;
    const float partial_1 = warp_add(value_5);
    if (i32(threadIdx.x % 32u) == 0) {
      exchange[threadIdx.x / 32u] = partial_1;
    }
    __syncthreads();
    const i32 count_2 = 1;
    float rest_1 = 0.0f;
    for (i32 slot_2 = threadIdx.x % 32u; slot_2 < count_2; slot_2 += 32u) {
      const float value_6 = rest_1;
      const float value_7 = exchange[slot_2];
      rest_1 = value_6 + value_7;
    }
    const float value_8 = rest_1;
    const float total_1 = warp_add(value_8);
    __syncthreads();
    sums_0 = total_1;
    const i32 part = local / 4;
    float acc_0 = 0.0f;
    float acc_1 = 0.0f;
    float acc_2 = 0.0f;
    float acc_3 = 0.0f;
    if (part < 8) {
      for (i32 key_4 = part; key_4 < count; key_4 += 8u) {
        const i32 quad_2 = local % 4;
        uint4 word_1 = newValue[quad_2];
        if (i32(u32(start) + key_4) != position) {
          word_1 = values[base + u32(key_4) * rowWords + quad_2];
        }
        const uint4 v = word_1;
        const float weight_1 = scores[key_4];
        acc_0 += __fmul_rn(weight_1, __uint_as_float(v.x));
        acc_1 += __fmul_rn(weight_1, __uint_as_float(v.y));
        acc_2 += __fmul_rn(weight_1, __uint_as_float(v.z));
        acc_3 += __fmul_rn(weight_1, __uint_as_float(v.w));
      }
    }
    exchange[4u * local] = acc_0;
    exchange[4u * local + 1u] = acc_1;
    exchange[4u * local + 2u] = acc_2;
    exchange[4u * local + 3u] = acc_3;
    __syncthreads();
    const i32 head = u32(batch) * kvHeads + kvHead;
    for (i32 i_2 = local; i_2 < 16; i_2 += 32u) {
      float sum_1 = 0.0f;
      sum_1 += exchange[i_2];
      sum_1 += exchange[16u + i_2];
      sum_1 += exchange[32u + i_2];
      sum_1 += exchange[48u + i_2];
      sum_1 += exchange[64u + i_2];
      sum_1 += exchange[80u + i_2];
      sum_1 += exchange[96u + i_2];
      sum_1 += exchange[112u + i_2];
      out[(head * gridDim.x + blockIdx.x) * 18u + i_2] = sum_1;
    }
    if (local == 0) {
      const i32 end = (head * gridDim.x + blockIdx.x) * 18u + 16u;
      out[end] = largest_0;
      out[end + 1u] = sums_0;
    }
    __syncthreads();
  }
}

}  // namespace attentionDecode
