using i32 = int;
using u32 = unsigned int;

namespace outerGemm {

// out = a @ b in f32 with b row-major along the columns of out:
extern "C" __global__ void __launch_bounds__(32) outerGemm(
  const float* __restrict__ a,
  const u32* __restrict__ b,
  const float* __restrict__ scales,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 p,
  const i32 first,
  const i32 aRow,
  const i32 aColumn,
  const i32 bStride
) {
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  const i32 rowBase = blockIdx.y * 4u;
  const i32 columnBase = blockIdx.x * 8u;
  float acc_0 = 0.0f;
  for (i32 start = 0; start < p; start += 16u) {
    for (i32 i = threadIdx.x; i < 16; i += 32u) {
      const i32 line = i % 4;
      const i32 quarter = i / 4;
      const i32 index = line * 5u + quarter;
      float four_0 = 0.0f;
      float four_1 = 0.0f;
      float four_2 = 0.0f;
      float four_3 = 0.0f;
      const i32 i_1 = start + 4u * quarter;
      const i32 l = i_1 < p ? i_1 : i32(p - 1u);
      const i32 row = u32(rowBase) + line;
      four_0 = i_1 < p ? a[u32(row < m ? row : i32(m - 1u)) * aRow + (u32(first) + l) * aColumn] : 0.0f;
      const i32 i_2 = start + 4u * quarter + 1u;
      const i32 l_1 = i_2 < p ? i_2 : i32(p - 1u);
      const i32 row_1 = u32(rowBase) + line;
      four_1 = i_2 < p ? a[u32(row_1 < m ? row_1 : i32(m - 1u)) * aRow + (u32(first) + l_1) * aColumn] : 0.0f;
      const i32 i_3 = start + 4u * quarter + 2u;
      const i32 l_2 = i_3 < p ? i_3 : i32(p - 1u);
      const i32 row_2 = u32(rowBase) + line;
      four_2 = i_3 < p ? a[u32(row_2 < m ? row_2 : i32(m - 1u)) * aRow + (u32(first) + l_2) * aColumn] : 0.0f;
      const i32 i_4 = start + 4u * quarter + 3u;
      const i32 l_3 = i_4 < p ? i_4 : i32(p - 1u);
      const i32 row_3 = u32(rowBase) + line;
      four_3 = i_4 < p ? a[u32(row_3 < m ? row_3 : i32(m - 1u)) * aRow + (u32(first) + l_3) * aColumn] : 0.0f;
      stagedRows[index] = make_uint4(__float_as_uint(four_0), __float_as_uint(four_1), __float_as_uint(four_2), __float_as_uint(four_3));
    }
    for (i32 i_5 = threadIdx.x; i_5 < 32; i_5 += 32u) {
      const i32 line_1 = i_5 % 8;
      const i32 quarter_1 = i_5 / 8;
      const i32 index_5 = line_1 * 5u + quarter_1;
      float four_0_1 = 0.0f;
      float four_1_1 = 0.0f;
      float four_2_1 = 0.0f;
      float four_3_1 = 0.0f;
      const i32 i_6 = start + 4u * quarter_1;
      const i32 l_4 = i_6 < p ? i_6 : i32(p - 1u);
      const i32 column = i32(u32(columnBase) + line_1) < n ? i32(u32(columnBase) + line_1) : i32(n - 1u);
      const i32 index_1 = u32(l_4) * bStride + column;
      const u32 word = b[index_1 >> 2];
      const i32 e = index_1 & 3;
      const float value = float(i32(word << ((24u - 8u * e) & 31)) >> 24);
      four_0_1 = i_6 < p ? __fmul_rn(value, scales[l_4]) : 0.0f;
      const i32 i_7 = start + 4u * quarter_1 + 1u;
      const i32 l_5 = i_7 < p ? i_7 : i32(p - 1u);
      const i32 column_1 = i32(u32(columnBase) + line_1) < n ? i32(u32(columnBase) + line_1) : i32(n - 1u);
      const i32 index_2 = u32(l_5) * bStride + column_1;
      const u32 word_1 = b[index_2 >> 2];
      const i32 e_1 = index_2 & 3;
      const float value_1 = float(i32(word_1 << ((24u - 8u * e_1) & 31)) >> 24);
      four_1_1 = i_7 < p ? __fmul_rn(value_1, scales[l_5]) : 0.0f;
      const i32 i_8 = start + 4u * quarter_1 + 2u;
      const i32 l_6 = i_8 < p ? i_8 : i32(p - 1u);
      const i32 column_2 = i32(u32(columnBase) + line_1) < n ? i32(u32(columnBase) + line_1) : i32(n - 1u);
      const i32 index_3 = u32(l_6) * bStride + column_2;
      const u32 word_2 = b[index_3 >> 2];
      const i32 e_2 = index_3 & 3;
      const float value_2 = float(i32(word_2 << ((24u - 8u * e_2) & 31)) >> 24);
      four_2_1 = i_8 < p ? __fmul_rn(value_2, scales[l_6]) : 0.0f;
      const i32 i_9 = start + 4u * quarter_1 + 3u;
      const i32 l_7 = i_9 < p ? i_9 : i32(p - 1u);
      const i32 column_3 = i32(u32(columnBase) + line_1) < n ? i32(u32(columnBase) + line_1) : i32(n - 1u);
      const i32 index_4 = u32(l_7) * bStride + column_3;
      const u32 word_3 = b[index_4 >> 2];
      const i32 e_3 = index_4 & 3;
      const float value_3 = float(i32(word_3 << ((24u - 8u * e_3) & 31)) >> 24);
      four_3_1 = i_9 < p ? __fmul_rn(value_3, scales[l_7]) : 0.0f;
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
  if (row_6 < m && column_6 < n) {
    const i32 at = u32(row_6) * n + column_6;
    float sum = acc;
    if (first > 0) {
      sum += out[at];
    }
    out[at] = sum;
  }
}

}  // namespace outerGemm
