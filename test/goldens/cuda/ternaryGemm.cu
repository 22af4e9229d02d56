using i32 = int;
using u32 = unsigned int;

namespace ternaryGemm {

// The sum and four products of signed bytes.
static __device__ __forceinline__ i32 dot4(u32 a, u32 b, i32 sum) {
  return __dp4a(i32(a), i32(b), sum);
}

// Ternary matrix multiplication for many rows, out[row, column] = epilogue(sum_k q[row, k] *
// w[column, k]).
extern "C" __global__ void __launch_bounds__(32) ternaryGemm(
  const uint4* __restrict__ codes,
  const uint4* __restrict__ activations,
  const float* __restrict__ scales,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 groupSize,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ uint4 stagedRows[20];
  __shared__ uint4 stagedColumns[40];
  const i32 rowBase = blockIdx.y * 4u;
  const i32 columnBase = blockIdx.x * 8u;
  const i32 stride = u32(i32(k + 63u) >> 6) << 6;
  const i32 paddedColumns = u32(i32(columns + 3u) >> 2) << 2;
  const i32 groups = i32(u32(k) + groupSize - 1u) / groupSize;
  const i32 groupLength = groupSize;
  const i32 weights = k - (groups - 1u) * groupLength;
  const i32 blocks = (groups - 1u) * (i32(groupLength + 63u) >> 6) + (i32(weights + 63u) >> 6);
  const i32 groupBlocks = i32(groupLength + 63u) >> 6;
  i32 acc_0 = 0;
  float totals_0 = 0.0f;
  for (i32 g = 0; g < groups; g += 1u) {
    const i32 first = u32(g) * groupBlocks;
    const i32 last = i32(g + 1u) < groups ? i32(u32(first) + groupBlocks) : blocks;
    for (i32 block = first; block < last; block += 1u) {
      const i32 start = u32(g) * groupLength + ((u32(block) - first) << 6);
      for (i32 i = threadIdx.x; i < 16; i += 32u) {
        const i32 line = i >> 2;
        const i32 quarter = i & 3;
        const i32 valid = i32(u32(rowBase) + line) < m ? i32(u32(rowBase) + line) : i32(m - 1u);
        const i32 at = u32(valid) * stride + start + 16u * quarter;
        stagedRows[line * 5u + quarter] = activations[at >> 4];
      }
      for (i32 i_1 = threadIdx.x; i_1 < 32; i_1 += 32u) {
        const i32 line_1 = i_1 >> 2;
        const i32 quarter_1 = i_1 & 3;
        const i32 at_1 = u32(columnBase) + line_1;
        const i32 row = at_1 < paddedColumns ? at_1 : i32(paddedColumns - 1u);
        const uint4 packed = codes[(u32(row >> 2) * blocks + block) * 4u + (row & 3)];
        const u32 word = packed.x;
        const u32 codes_1 = (word >> ((u32(quarter_1) << 1) & 31)) & 0x03030303u;
        const u32 word_1 = packed.y;
        const u32 codes_2 = (word_1 >> ((u32(quarter_1) << 1) & 31)) & 0x03030303u;
        const u32 word_2 = packed.z;
        const u32 codes_3 = (word_2 >> ((u32(quarter_1) << 1) & 31)) & 0x03030303u;
        const u32 word_3 = packed.w;
        const u32 codes_4 = (word_3 >> ((u32(quarter_1) << 1) & 31)) & 0x03030303u;
        stagedColumns[line_1 * 5u + quarter_1] = make_uint4(((codes_1 | 0x80808080u) - 0x01010101u) ^ 0x80808080u, ((codes_2 | 0x80808080u) - 0x01010101u) ^ 0x80808080u, ((codes_3 | 0x80808080u) - 0x01010101u) ^ 0x80808080u, ((codes_4 | 0x80808080u) - 0x01010101u) ^ 0x80808080u);
      }
      __syncthreads();
      const uint4 zero = make_uint4(0u, 0u, 0u, 0u);
      const i32 row_1 = i32(threadIdx.x) / 8;
      const i32 column = i32(threadIdx.x) % 8;
      uint4 rows_0 = zero;
      uint4 columns_0 = zero;
      for (i32 quarter_2 = 0; quarter_2 < 4; quarter_2 += 1u) {
        rows_0 = stagedRows[row_1 * 5u + quarter_2];
        columns_0 = stagedColumns[column * 5u + quarter_2];
        acc_0 = dot4(rows_0.x, columns_0.x, acc_0);
        acc_0 = dot4(rows_0.y, columns_0.y, acc_0);
        acc_0 = dot4(rows_0.z, columns_0.z, acc_0);
        acc_0 = dot4(rows_0.w, columns_0.w, acc_0);
      }
      __syncthreads();
    }
    const i32 column_1 = i32(threadIdx.x) % 8;
    const i32 at_2 = u32(columnBase) + column_1;
    const i32 row_2 = at_2 < paddedColumns ? at_2 : i32(paddedColumns - 1u);
    const float scale = scales[(u32(row_2 >> 2) * groups + g) * 4u + (row_2 & 3)];
    totals_0 += __fmul_rn(float(acc_0), scale);
    acc_0 = 0;
  }
  const i32 tileRow = i32(threadIdx.x) / 8;
  const i32 tileColumn = i32(threadIdx.x) % 8;
  const i32 row_3 = u32(rowBase) + tileRow;
  const i32 column_2 = u32(columnBase) + tileColumn;
  if (row_3 < m && column_2 < columns) {
    const float result = totals_0;
    out[u32(row_3) * n + firstColumn + column_2] = result;
  }
}

}  // namespace ternaryGemm
