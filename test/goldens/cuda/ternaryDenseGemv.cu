using i32 = int;
using u32 = unsigned int;

namespace ternaryDenseGemv {

// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// f32 activations times ternary weights for few rows:
extern "C" __global__ void __launch_bounds__(32) ternaryDenseGemv(
  const u32* __restrict__ codes,
  const float* __restrict__ scales,
  const float* __restrict__ x,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 xStride,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ float partials[128];
  const i32 group = blockIdx.x;
  const i32 groupLength = k;
  const i32 groupBlocks = i32(groupLength + 63u) >> 6;
  const i32 blocks = i32(k + 63u) >> 6;
  i32 rowStart_0 = 0;
  const i32 row = blockIdx.y;
  rowStart_0 = u32(row < m ? row : i32(m - 1u)) * xStride;
  float acc_0 = 0.0f;
  float acc_1 = 0.0f;
  float acc_2 = 0.0f;
  float acc_3 = 0.0f;
  for (i32 i = threadIdx.x; i < i32(4u * blocks); i += 32u) {
    const i32 block = i >> 2;
    const i32 g = block / groupBlocks;
    const i32 start = u32(g) * groupLength + ((block - u32(g) * groupBlocks) << 6) + 4u * (i & 3);
    u32 words_0 = 0u;
    u32 words_1 = 0u;
    u32 words_2 = 0u;
    u32 words_3 = 0u;
    words_0 = codes[(u32(group) * blocks + block) * 4u * 4u + (i & 3)];
    words_1 = codes[((u32(group) * blocks + block) * 4u + 1u) * 4u + (i & 3)];
    words_2 = codes[((u32(group) * blocks + block) * 4u + 2u) * 4u + (i & 3)];
    words_3 = codes[((u32(group) * blocks + block) * 4u + 3u) * 4u + (i & 3)];
    float sums_0 = 0.0f;
    float sums_1 = 0.0f;
    float sums_2 = 0.0f;
    float sums_3 = 0.0f;
    const i32 at = start;
    const float value = at < k ? x[u32(rowStart_0) + (at < k ? at : i32(k - 1u))] : 0.0f;
    const u32 word = words_0;
    sums_0 += __fmul_rn(value, float(i32((word & 3u) - 1u)));
    const u32 word_1 = words_1;
    sums_1 += __fmul_rn(value, float(i32((word_1 & 3u) - 1u)));
    const u32 word_2 = words_2;
    sums_2 += __fmul_rn(value, float(i32((word_2 & 3u) - 1u)));
    const u32 word_3 = words_3;
    sums_3 += __fmul_rn(value, float(i32((word_3 & 3u) - 1u)));
    const i32 at_1 = start + 1u;
    const float value_1 = at_1 < k ? x[u32(rowStart_0) + (at_1 < k ? at_1 : i32(k - 1u))] : 0.0f;
    const u32 word_4 = words_0;
    sums_0 += __fmul_rn(value_1, float(i32(((word_4 >> 8) & 3u) - 1u)));
    const u32 word_5 = words_1;
    sums_1 += __fmul_rn(value_1, float(i32(((word_5 >> 8) & 3u) - 1u)));
    const u32 word_6 = words_2;
    sums_2 += __fmul_rn(value_1, float(i32(((word_6 >> 8) & 3u) - 1u)));
    const u32 word_7 = words_3;
    sums_3 += __fmul_rn(value_1, float(i32(((word_7 >> 8) & 3u) - 1u)));
    const i32 at_2 = start + 2u;
    const float value_2 = at_2 < k ? x[u32(rowStart_0) + (at_2 < k ? at_2 : i32(k - 1u))] : 0.0f;
    const u32 word_8 = words_0;
    sums_0 += __fmul_rn(value_2, float(i32(((word_8 >> 16) & 3u) - 1u)));
    const u32 word_9 = words_1;
    sums_1 += __fmul_rn(value_2, float(i32(((word_9 >> 16) & 3u) - 1u)));
    const u32 word_10 = words_2;
    sums_2 += __fmul_rn(value_2, float(i32(((word_10 >> 16) & 3u) - 1u)));
    const u32 word_11 = words_3;
    sums_3 += __fmul_rn(value_2, float(i32(((word_11 >> 16) & 3u) - 1u)));
    const i32 at_3 = start + 3u;
    const float value_3 = at_3 < k ? x[u32(rowStart_0) + (at_3 < k ? at_3 : i32(k - 1u))] : 0.0f;
    const u32 word_12 = words_0;
    sums_0 += __fmul_rn(value_3, float(i32(((word_12 >> 24) & 3u) - 1u)));
    const u32 word_13 = words_1;
    sums_1 += __fmul_rn(value_3, float(i32(((word_13 >> 24) & 3u) - 1u)));
    const u32 word_14 = words_2;
    sums_2 += __fmul_rn(value_3, float(i32(((word_14 >> 24) & 3u) - 1u)));
    const u32 word_15 = words_3;
    sums_3 += __fmul_rn(value_3, float(i32(((word_15 >> 24) & 3u) - 1u)));
    const i32 at_4 = start + 16u;
    const float value_4 = at_4 < k ? x[u32(rowStart_0) + (at_4 < k ? at_4 : i32(k - 1u))] : 0.0f;
    const u32 word_16 = words_0;
    sums_0 += __fmul_rn(value_4, float(i32(((word_16 >> 2) & 3u) - 1u)));
    const u32 word_17 = words_1;
    sums_1 += __fmul_rn(value_4, float(i32(((word_17 >> 2) & 3u) - 1u)));
    const u32 word_18 = words_2;
    sums_2 += __fmul_rn(value_4, float(i32(((word_18 >> 2) & 3u) - 1u)));
    const u32 word_19 = words_3;
    sums_3 += __fmul_rn(value_4, float(i32(((word_19 >> 2) & 3u) - 1u)));
    const i32 at_5 = start + 16u + 1u;
    const float value_5 = at_5 < k ? x[u32(rowStart_0) + (at_5 < k ? at_5 : i32(k - 1u))] : 0.0f;
    const u32 word_20 = words_0;
    sums_0 += __fmul_rn(value_5, float(i32(((word_20 >> 10) & 3u) - 1u)));
    const u32 word_21 = words_1;
    sums_1 += __fmul_rn(value_5, float(i32(((word_21 >> 10) & 3u) - 1u)));
    const u32 word_22 = words_2;
    sums_2 += __fmul_rn(value_5, float(i32(((word_22 >> 10) & 3u) - 1u)));
    const u32 word_23 = words_3;
    sums_3 += __fmul_rn(value_5, float(i32(((word_23 >> 10) & 3u) - 1u)));
    const i32 at_6 = start + 16u + 2u;
    const float value_6 = at_6 < k ? x[u32(rowStart_0) + (at_6 < k ? at_6 : i32(k - 1u))] : 0.0f;
    const u32 word_24 = words_0;
    sums_0 += __fmul_rn(value_6, float(i32(((word_24 >> 18) & 3u) - 1u)));
    const u32 word_25 = words_1;
    sums_1 += __fmul_rn(value_6, float(i32(((word_25 >> 18) & 3u) - 1u)));
    const u32 word_26 = words_2;
    sums_2 += __fmul_rn(value_6, float(i32(((word_26 >> 18) & 3u) - 1u)));
    const u32 word_27 = words_3;
    sums_3 += __fmul_rn(value_6, float(i32(((word_27 >> 18) & 3u) - 1u)));
    const i32 at_7 = start + 16u + 3u;
    const float value_7 = at_7 < k ? x[u32(rowStart_0) + (at_7 < k ? at_7 : i32(k - 1u))] : 0.0f;
    const u32 word_28 = words_0;
    sums_0 += __fmul_rn(value_7, float(i32(((word_28 >> 26) & 3u) - 1u)));
    const u32 word_29 = words_1;
    sums_1 += __fmul_rn(value_7, float(i32(((word_29 >> 26) & 3u) - 1u)));
    const u32 word_30 = words_2;
    sums_2 += __fmul_rn(value_7, float(i32(((word_30 >> 26) & 3u) - 1u)));
    const u32 word_31 = words_3;
    sums_3 += __fmul_rn(value_7, float(i32(((word_31 >> 26) & 3u) - 1u)));
    const i32 at_8 = start + 32u;
    const float value_8 = at_8 < k ? x[u32(rowStart_0) + (at_8 < k ? at_8 : i32(k - 1u))] : 0.0f;
    const u32 word_32 = words_0;
    sums_0 += __fmul_rn(value_8, float(i32(((word_32 >> 4) & 3u) - 1u)));
    const u32 word_33 = words_1;
    sums_1 += __fmul_rn(value_8, float(i32(((word_33 >> 4) & 3u) - 1u)));
    const u32 word_34 = words_2;
    sums_2 += __fmul_rn(value_8, float(i32(((word_34 >> 4) & 3u) - 1u)));
    const u32 word_35 = words_3;
    sums_3 += __fmul_rn(value_8, float(i32(((word_35 >> 4) & 3u) - 1u)));
    const i32 at_9 = start + 32u + 1u;
    const float value_9 = at_9 < k ? x[u32(rowStart_0) + (at_9 < k ? at_9 : i32(k - 1u))] : 0.0f;
    const u32 word_36 = words_0;
    sums_0 += __fmul_rn(value_9, float(i32(((word_36 >> 12) & 3u) - 1u)));
    const u32 word_37 = words_1;
    sums_1 += __fmul_rn(value_9, float(i32(((word_37 >> 12) & 3u) - 1u)));
    const u32 word_38 = words_2;
    sums_2 += __fmul_rn(value_9, float(i32(((word_38 >> 12) & 3u) - 1u)));
    const u32 word_39 = words_3;
    sums_3 += __fmul_rn(value_9, float(i32(((word_39 >> 12) & 3u) - 1u)));
    const i32 at_10 = start + 32u + 2u;
    const float value_10 = at_10 < k ? x[u32(rowStart_0) + (at_10 < k ? at_10 : i32(k - 1u))] : 0.0f;
    const u32 word_40 = words_0;
    sums_0 += __fmul_rn(value_10, float(i32(((word_40 >> 20) & 3u) - 1u)));
    const u32 word_41 = words_1;
    sums_1 += __fmul_rn(value_10, float(i32(((word_41 >> 20) & 3u) - 1u)));
    const u32 word_42 = words_2;
    sums_2 += __fmul_rn(value_10, float(i32(((word_42 >> 20) & 3u) - 1u)));
    const u32 word_43 = words_3;
    sums_3 += __fmul_rn(value_10, float(i32(((word_43 >> 20) & 3u) - 1u)));
    const i32 at_11 = start + 32u + 3u;
    const float value_11 = at_11 < k ? x[u32(rowStart_0) + (at_11 < k ? at_11 : i32(k - 1u))] : 0.0f;
    const u32 word_44 = words_0;
    sums_0 += __fmul_rn(value_11, float(i32(((word_44 >> 28) & 3u) - 1u)));
    const u32 word_45 = words_1;
    sums_1 += __fmul_rn(value_11, float(i32(((word_45 >> 28) & 3u) - 1u)));
    const u32 word_46 = words_2;
    sums_2 += __fmul_rn(value_11, float(i32(((word_46 >> 28) & 3u) - 1u)));
    const u32 word_47 = words_3;
    sums_3 += __fmul_rn(value_11, float(i32(((word_47 >> 28) & 3u) - 1u)));
    const i32 at_12 = start + 48u;
    const float value_12 = at_12 < k ? x[u32(rowStart_0) + (at_12 < k ? at_12 : i32(k - 1u))] : 0.0f;
    const u32 word_48 = words_0;
    sums_0 += __fmul_rn(value_12, float(i32(((word_48 >> 6) & 3u) - 1u)));
    const u32 word_49 = words_1;
    sums_1 += __fmul_rn(value_12, float(i32(((word_49 >> 6) & 3u) - 1u)));
    const u32 word_50 = words_2;
    sums_2 += __fmul_rn(value_12, float(i32(((word_50 >> 6) & 3u) - 1u)));
    const u32 word_51 = words_3;
    sums_3 += __fmul_rn(value_12, float(i32(((word_51 >> 6) & 3u) - 1u)));
    const i32 at_13 = start + 48u + 1u;
    const float value_13 = at_13 < k ? x[u32(rowStart_0) + (at_13 < k ? at_13 : i32(k - 1u))] : 0.0f;
    const u32 word_52 = words_0;
    sums_0 += __fmul_rn(value_13, float(i32(((word_52 >> 14) & 3u) - 1u)));
    const u32 word_53 = words_1;
    sums_1 += __fmul_rn(value_13, float(i32(((word_53 >> 14) & 3u) - 1u)));
    const u32 word_54 = words_2;
    sums_2 += __fmul_rn(value_13, float(i32(((word_54 >> 14) & 3u) - 1u)));
    const u32 word_55 = words_3;
    sums_3 += __fmul_rn(value_13, float(i32(((word_55 >> 14) & 3u) - 1u)));
    const i32 at_14 = start + 48u + 2u;
    const float value_14 = at_14 < k ? x[u32(rowStart_0) + (at_14 < k ? at_14 : i32(k - 1u))] : 0.0f;
    const u32 word_56 = words_0;
    sums_0 += __fmul_rn(value_14, float(i32(((word_56 >> 22) & 3u) - 1u)));
    const u32 word_57 = words_1;
    sums_1 += __fmul_rn(value_14, float(i32(((word_57 >> 22) & 3u) - 1u)));
    const u32 word_58 = words_2;
    sums_2 += __fmul_rn(value_14, float(i32(((word_58 >> 22) & 3u) - 1u)));
    const u32 word_59 = words_3;
    sums_3 += __fmul_rn(value_14, float(i32(((word_59 >> 22) & 3u) - 1u)));
    const i32 at_15 = start + 48u + 3u;
    const float value_15 = at_15 < k ? x[u32(rowStart_0) + (at_15 < k ? at_15 : i32(k - 1u))] : 0.0f;
    const u32 word_60 = words_0;
    sums_0 += __fmul_rn(value_15, float(i32(((word_60 >> 30) & 3u) - 1u)));
    const u32 word_61 = words_1;
    sums_1 += __fmul_rn(value_15, float(i32(((word_61 >> 30) & 3u) - 1u)));
    const u32 word_62 = words_2;
    sums_2 += __fmul_rn(value_15, float(i32(((word_62 >> 30) & 3u) - 1u)));
    const u32 word_63 = words_3;
    sums_3 += __fmul_rn(value_15, float(i32(((word_63 >> 30) & 3u) - 1u)));
    const float scale = scales[(u32(group) + g) * 4u];
    acc_0 += __fmul_rn(sums_0, scale);
    const float scale_1 = scales[(u32(group) + g) * 4u + 1u];
    acc_1 += __fmul_rn(sums_1, scale_1);
    const float scale_2 = scales[(u32(group) + g) * 4u + 2u];
    acc_2 += __fmul_rn(sums_2, scale_2);
    const float scale_3 = scales[(u32(group) + g) * 4u + 3u];
    acc_3 += __fmul_rn(sums_3, scale_3);
  }
  const i32 local = threadIdx.x;
  i32 count = 1;
  acc_0 = warp_add(acc_0);
  acc_1 = warp_add(acc_1);
  acc_2 = warp_add(acc_2);
  acc_3 = warp_add(acc_3);
  const i32 lane = threadIdx.x % 32u;
  if (lane < 1) {
    partials[lane * 32u + threadIdx.x / 32u] = acc_0;
    partials[(1u + lane) * 32u + threadIdx.x / 32u] = acc_1;
    partials[(2u + lane) * 32u + threadIdx.x / 32u] = acc_2;
    partials[(3u + lane) * 32u + threadIdx.x / 32u] = acc_3;
  }
  __syncthreads();
  count = 1;
  for (i32 o = local; o < 4; o += 32u) {
    float sum = partials[o * 32u];
    for (i32 part = 1; part < count; part += 1u) {
      sum += partials[o * 32u + part];
    }
    const float sum_1 = sum;
    const i32 row_1 = blockIdx.y + (o >> 2);
    const i32 column = 4u * group + (o & 3);
    if (row_1 < m && column < columns) {
      out[u32(row_1) * n + firstColumn + column] = sum_1;
    }
  }
}

}  // namespace ternaryDenseGemv
