using i32 = int;
using u32 = unsigned int;

namespace denseGemm {

// Dense matrix multiplication for many rows in f32, out[row, column] = epilogue(sum_k x[row, k] *
// w[column, k]).
extern "C" __global__ void __launch_bounds__(32) denseGemm(
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
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  const i32 rowBase = blockIdx.y * 4u;
  const i32 columnBase = blockIdx.x * 8u;
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
      const i32 index_5 = line_1 * 5u + quarter_1;
      float four_0_1 = 0.0f;
      float four_1_1 = 0.0f;
      float four_2_1 = 0.0f;
      float four_3_1 = 0.0f;
      const i32 i_10 = start + 4u * quarter_1;
      const i32 i_11 = i_10 < k ? i_10 : i32(k - 1u);
      const i32 column = u32(columnBase) + line_1;
      const i32 index_1 = u32(column < columns ? column : i32(columns - 1u)) * k + i_11;
      const u32 word = weights[index_1 >> 1];
      const i32 e = index_1 & 1;
      four_0_1 = i_10 < k ? __uint_as_float(((word >> ((16u * e) & 31)) & 65535u) << 16) : 0.0f;
      const i32 i_12 = start + 4u * quarter_1 + 1u;
      const i32 i_13 = i_12 < k ? i_12 : i32(k - 1u);
      const i32 column_1 = u32(columnBase) + line_1;
      const i32 index_2 = u32(column_1 < columns ? column_1 : i32(columns - 1u)) * k + i_13;
      const u32 word_1 = weights[index_2 >> 1];
      const i32 e_1 = index_2 & 1;
      four_1_1 = i_12 < k ? __uint_as_float(((word_1 >> ((16u * e_1) & 31)) & 65535u) << 16) : 0.0f;
      const i32 i_14 = start + 4u * quarter_1 + 2u;
      const i32 i_15 = i_14 < k ? i_14 : i32(k - 1u);
      const i32 column_2 = u32(columnBase) + line_1;
      const i32 index_3 = u32(column_2 < columns ? column_2 : i32(columns - 1u)) * k + i_15;
      const u32 word_2 = weights[index_3 >> 1];
      const i32 e_2 = index_3 & 1;
      four_2_1 = i_14 < k ? __uint_as_float(((word_2 >> ((16u * e_2) & 31)) & 65535u) << 16) : 0.0f;
      const i32 i_16 = start + 4u * quarter_1 + 3u;
      const i32 i_17 = i_16 < k ? i_16 : i32(k - 1u);
      const i32 column_3 = u32(columnBase) + line_1;
      const i32 index_4 = u32(column_3 < columns ? column_3 : i32(columns - 1u)) * k + i_17;
      const u32 word_3 = weights[index_4 >> 1];
      const i32 e_3 = index_4 & 1;
      four_3_1 = i_16 < k ? __uint_as_float(((word_3 >> ((16u * e_3) & 31)) & 65535u) << 16) : 0.0f;
      stagedColumns[index_5] = make_uint4(__float_as_uint(four_0_1), __float_as_uint(four_1_1), __float_as_uint(four_2_1), __float_as_uint(four_3_1));
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
    float value = acc;
    const float acc_1 = value;
    out[u32(row_6) * n + firstColumn + column_6] = acc_1;
  }
}

}  // namespace denseGemm
