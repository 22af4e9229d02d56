using i32 = int;
using u32 = unsigned int;

namespace ternaryTensorGemm {

// Sums, and 16 rows times 8 columns of 32 signed bytes, on the tensor cores.
static __device__ __forceinline__ uint4 warp_multiply(uint4 rows, u32 low, u32 high, uint4 sums) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums.x), "+r"(sums.y), "+r"(sums.z), "+r"(sums.w)
      : "r"(rows.x), "r"(rows.y), "r"(rows.z), "r"(rows.w), "r"(low), "r"(high));
  return sums;
#else  // No compiler for NVIDIA's devices.
  return host_warp_multiply(rows, low, high, sums);
#endif
}

// Ternary matrix multiplication for many rows on tensor cores, out[row, column] = epilogue(sum_k
// q[row, k] * w[column, k]).
extern "C" __global__ void __launch_bounds__(64) ternaryTensorGemm(
  const uint4* __restrict__ codes,
  const uint4* __restrict__ activations,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ uint4 staged[128];
  const i32 local = threadIdx.x;
  const i32 place = i32(threadIdx.x % 32u) >> 2;
  const i32 quarter = i32(threadIdx.x % 32u) & 3;
  const i32 rowBase = blockIdx.y * 16u;
  const i32 columnBase = (blockIdx.x * 2u + threadIdx.x / 32u) * 8u;
  const i32 lastColumn = (u32(i32(columns + 3u) >> 2) << 2) - 1u;
  const i32 blocks = i32(k + 63u) >> 6;
  const uint4 zero = make_uint4(0u, 0u, 0u, 0u);
  uint4 sums_0_0 = zero;
  uint4 nextRows_0 = zero;
  uint4 nextCodes_0 = zero;
  i32 rowStart_0 = 0;
  const i32 row = u32(rowBase) + (local >> 2);
  rowStart_0 = (row < m ? row : i32(m - 1u)) * (4u * blocks) + (local & 3);
  nextRows_0 = activations[rowStart_0];
  i32 codeStart_0 = 0;
  const i32 column = u32(columnBase) + place;
  const i32 row_1 = column < lastColumn ? column : lastColumn;
  codeStart_0 = u32(row_1 >> 2) * blocks * 4u + (row_1 & 3);
  nextCodes_0 = codes[codeStart_0];
  i32 side = 0;
  for (i32 block = 0; block < blocks; block += 1u) {
    staged[u32(side) + local] = nextRows_0;
    u32 weights_0_0 = 0u;
    u32 weights_0_1 = 0u;
    u32 weights_0_2 = 0u;
    u32 weights_0_3 = 0u;
    const u32 word = nextCodes_0.x;
    const u32 codes_1 = (word >> ((u32(quarter) << 1) & 31)) & 0x03030303u;
    weights_0_0 = ((codes_1 | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
    const u32 word_1 = nextCodes_0.y;
    const u32 codes_2 = (word_1 >> ((u32(quarter) << 1) & 31)) & 0x03030303u;
    weights_0_1 = ((codes_2 | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
    const u32 word_2 = nextCodes_0.z;
    const u32 codes_3 = (word_2 >> ((u32(quarter) << 1) & 31)) & 0x03030303u;
    weights_0_2 = ((codes_3 | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
    const u32 word_3 = nextCodes_0.w;
    const u32 codes_4 = (word_3 >> ((u32(quarter) << 1) & 31)) & 0x03030303u;
    weights_0_3 = ((codes_4 | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
    __syncthreads();
    const i32 next = i32(block + 1u) < blocks ? i32(block + 1u) : block;
    nextRows_0 = activations[rowStart_0 + 4u * next];
    nextCodes_0 = codes[codeStart_0 + 4u * next];
    const uint4 upper = staged[side + 4u * place + quarter];
    const uint4 lower = staged[side + 4u * (8u + place) + quarter];
    const uint4 first = make_uint4(upper.x, lower.x, upper.y, lower.y);
    const uint4 second = make_uint4(upper.z, lower.z, upper.w, lower.w);
    const uint4 half = warp_multiply(first, weights_0_0, weights_0_1, sums_0_0);
    sums_0_0 = warp_multiply(second, weights_0_2, weights_0_3, half);
    side = 64u - side;
  }
  const i32 row_2 = u32(rowBase) + place;
  const i32 column_1 = columnBase + 2u * quarter;
  if (row_2 < m && column_1 < columns) {
    const i32 acc = sums_0_0.x;
    out[u32(row_2) * n + firstColumn + column_1] = __int_as_float(acc);
  }
  const i32 row_3 = u32(rowBase) + place;
  const i32 column_3 = columnBase + 2u * quarter + 1u;
  if (row_3 < m && column_3 < columns) {
    const i32 acc_1 = sums_0_0.y;
    out[u32(row_3) * n + firstColumn + column_3] = __int_as_float(acc_1);
  }
  const i32 row_4 = u32(rowBase) + place + 8u;
  const i32 column_5 = columnBase + 2u * quarter;
  if (row_4 < m && column_5 < columns) {
    const i32 acc_2 = sums_0_0.z;
    out[u32(row_4) * n + firstColumn + column_5] = __int_as_float(acc_2);
  }
  const i32 row_5 = u32(rowBase) + place + 8u;
  const i32 column_7 = columnBase + 2u * quarter + 1u;
  if (row_5 < m && column_7 < columns) {
    const i32 acc_3 = sums_0_0.w;
    out[u32(row_5) * n + firstColumn + column_7] = __int_as_float(acc_3);
  }
}

}  // namespace ternaryTensorGemm
