using i32 = int;
using u32 = unsigned int;

namespace ternaryDenseGemm {

// f32 activations times ternary weights for many rows:
extern "C" __global__ void __launch_bounds__(32) ternaryDenseGemm(
  const u32* __restrict__ codes,
  const float* __restrict__ scales,
  const float* __restrict__ x,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 groupSize,
  const i32 xStride,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  const i32 rowBase = blockIdx.y * 4u;
  const i32 columnBase = blockIdx.x * 8u;
  const i32 groups = i32(u32(k) + groupSize - 1u) / groupSize;
  const i32 groupLength = groupSize;
  const i32 groupBlocks = i32(groupLength + 63u) >> 6;
  const i32 weights = k - (groups - 1u) * groupLength;
  const i32 blocks = (groups - 1u) * (i32(groupLength + 63u) >> 6) + (i32(weights + 63u) >> 6);
  float acc_0 = 0.0f;
  for (i32 start = 0; start < k; start += 16u) {
    for (i32 i = threadIdx.x; i < 16; i += 32u) {
      const i32 line = i >> 2;
      const i32 quarter = i & 3;
      const i32 index = line * 5u + quarter;
      float four_0 = 0.0f;
      float four_1 = 0.0f;
      float four_2 = 0.0f;
      float four_3 = 0.0f;
      const i32 i_1 = start + 4u * quarter;
      const i32 i_2 = i_1 < k ? i_1 : i32(k - 1u);
      const i32 row = u32(rowBase) + line;
      four_0 = i_1 < k ? x[u32(row < m ? row : i32(m - 1u)) * xStride + i_2] : 0.0f;
      const i32 i_3 = start + 4u * quarter + 1u;
      const i32 i_4 = i_3 < k ? i_3 : i32(k - 1u);
      const i32 row_1 = u32(rowBase) + line;
      four_1 = i_3 < k ? x[u32(row_1 < m ? row_1 : i32(m - 1u)) * xStride + i_4] : 0.0f;
      const i32 i_5 = start + 4u * quarter + 2u;
      const i32 i_6 = i_5 < k ? i_5 : i32(k - 1u);
      const i32 row_2 = u32(rowBase) + line;
      four_2 = i_5 < k ? x[u32(row_2 < m ? row_2 : i32(m - 1u)) * xStride + i_6] : 0.0f;
      const i32 i_7 = start + 4u * quarter + 3u;
      const i32 i_8 = i_7 < k ? i_7 : i32(k - 1u);
      const i32 row_3 = u32(rowBase) + line;
      four_3 = i_7 < k ? x[u32(row_3 < m ? row_3 : i32(m - 1u)) * xStride + i_8] : 0.0f;
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
      const i32 i_10 = start + 4u * quarter_1;
      const i32 i_11 = i_10 < k ? i_10 : i32(k - 1u);
      const i32 column = i32(u32(columnBase) + line_1) < columns ? i32(u32(columnBase) + line_1) : i32(columns - 1u);
      const i32 g = i_11 / groupLength;
      const i32 i_12 = ((u32(g) * groupBlocks) << 6) + i_11 - u32(g) * groupLength;
      const i32 block = i_12 >> 6;
      const u32 word = codes[((u32(column >> 2) * blocks + block) * 4u + (column & 3)) * 4u + ((i_12 & 15) >> 2)];
      const i32 shift = 8u * (i_12 & 3) + 2u * ((i_12 & 63) >> 4);
      const float w = float(i32(((word >> (shift & 31)) & 3u) - 1u));
      four_0_1 = i_10 < k ? __fmul_rn(w, scales[(u32(column >> 2) * groups + g) * 4u + (column & 3)]) : 0.0f;
      const i32 i_13 = start + 4u * quarter_1 + 1u;
      const i32 i_14 = i_13 < k ? i_13 : i32(k - 1u);
      const i32 column_1 = i32(u32(columnBase) + line_1) < columns ? i32(u32(columnBase) + line_1) : i32(columns - 1u);
      const i32 g_1 = i_14 / groupLength;
      const i32 i_15 = ((u32(g_1) * groupBlocks) << 6) + i_14 - u32(g_1) * groupLength;
      const i32 block_1 = i_15 >> 6;
      const u32 word_1 = codes[((u32(column_1 >> 2) * blocks + block_1) * 4u + (column_1 & 3)) * 4u + ((i_15 & 15) >> 2)];
      const i32 shift_1 = 8u * (i_15 & 3) + 2u * ((i_15 & 63) >> 4);
      const float w_1 = float(i32(((word_1 >> (shift_1 & 31)) & 3u) - 1u));
      four_1_1 = i_13 < k ? __fmul_rn(w_1, scales[(u32(column_1 >> 2) * groups + g_1) * 4u + (column_1 & 3)]) : 0.0f;
      const i32 i_16 = start + 4u * quarter_1 + 2u;
      const i32 i_17 = i_16 < k ? i_16 : i32(k - 1u);
      const i32 column_2 = i32(u32(columnBase) + line_1) < columns ? i32(u32(columnBase) + line_1) : i32(columns - 1u);
      const i32 g_2 = i_17 / groupLength;
      const i32 i_18 = ((u32(g_2) * groupBlocks) << 6) + i_17 - u32(g_2) * groupLength;
      const i32 block_2 = i_18 >> 6;
      const u32 word_2 = codes[((u32(column_2 >> 2) * blocks + block_2) * 4u + (column_2 & 3)) * 4u + ((i_18 & 15) >> 2)];
      const i32 shift_2 = 8u * (i_18 & 3) + 2u * ((i_18 & 63) >> 4);
      const float w_2 = float(i32(((word_2 >> (shift_2 & 31)) & 3u) - 1u));
      four_2_1 = i_16 < k ? __fmul_rn(w_2, scales[(u32(column_2 >> 2) * groups + g_2) * 4u + (column_2 & 3)]) : 0.0f;
      const i32 i_19 = start + 4u * quarter_1 + 3u;
      const i32 i_20 = i_19 < k ? i_19 : i32(k - 1u);
      const i32 column_3 = i32(u32(columnBase) + line_1) < columns ? i32(u32(columnBase) + line_1) : i32(columns - 1u);
      const i32 g_3 = i_20 / groupLength;
      const i32 i_21 = ((u32(g_3) * groupBlocks) << 6) + i_20 - u32(g_3) * groupLength;
      const i32 block_3 = i_21 >> 6;
      const u32 word_3 = codes[((u32(column_3 >> 2) * blocks + block_3) * 4u + (column_3 & 3)) * 4u + ((i_21 & 15) >> 2)];
      const i32 shift_3 = 8u * (i_21 & 3) + 2u * ((i_21 & 63) >> 4);
      const float w_3 = float(i32(((word_3 >> (shift_3 & 31)) & 3u) - 1u));
      four_3_1 = i_19 < k ? __fmul_rn(w_3, scales[(u32(column_3 >> 2) * groups + g_3) * 4u + (column_3 & 3)]) : 0.0f;
      stagedColumns[index_1] = make_uint4(__float_as_uint(four_0_1), __float_as_uint(four_1_1), __float_as_uint(four_2_1), __float_as_uint(four_3_1));
    }
    __syncthreads();
    const uint4 zero = make_uint4(0u, 0u, 0u, 0u);
    const i32 row_4 = i32(threadIdx.x) / 8;
    const i32 column_4 = i32(threadIdx.x) % 8;
    uint4 rows_0 = zero;
    uint4 columns_0 = zero;
    for (i32 quarter_2 = 0; quarter_2 < 4; quarter_2 += 1u) {
      rows_0 = stagedRows[row_4 * 5u + quarter_2];
      columns_0 = stagedColumns[column_4 * 5u + quarter_2];
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
  const i32 row_5 = i32(threadIdx.x) / 8;
  const i32 column_5 = i32(threadIdx.x) % 8;
  const float acc = acc_0;
  const i32 row_6 = u32(rowBase) + row_5;
  const i32 column_6 = u32(columnBase) + column_5;
  if (row_6 < m && column_6 < columns) {
    out[u32(row_6) * n + firstColumn + column_6] = acc;
  }
}

}  // namespace ternaryDenseGemm
