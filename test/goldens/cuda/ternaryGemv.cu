using i32 = int;
using u32 = unsigned int;

namespace ternaryGemv {

// The sum and four products of signed bytes.
static __device__ __forceinline__ i32 dot4(u32 a, u32 b, i32 sum) {
  return __dp4a(i32(a), i32(b), sum);
}

// Ternary matrix multiplication for few rows, out[row, column] = epilogue(sum_k q[row, k] *
// w[column, k]), bound by reading the weights once.
extern "C" __global__ void __launch_bounds__(32) ternaryGemv(
  const uint4* __restrict__ codes,
  const uint4* __restrict__ activations,
  const i32* __restrict__ sums,
  float* __restrict__ out,
  const i32 m,
  const i32 n,
  const i32 k,
  const i32 firstColumn,
  const i32 columns
) {
  __shared__ i32 partials[32];
  const i32 local = threadIdx.x;
  const i32 lane = local & 3;
  const i32 member = local >> 2;
  const i32 stride = u32(i32(k + 63u) >> 6) << 6;
  const i32 lastGroup = (i32(columns + 3u) >> 2) - 1u;
  const i32 firstGroup = blockIdx.x;
  const i32 firstRow = blockIdx.y;
  const i32 blocks = i32(k + 63u) >> 6;
  i32 rowStart_0 = stride;
  rowStart_0 = u32(firstRow < m ? firstRow : i32(m - 1u)) * stride;
  i32 weightRow_0 = lane;
  i32 weightStart_0 = lane;
  weightRow_0 = 4u * (firstGroup < lastGroup ? firstGroup : lastGroup) + lane;
  const i32 row = weightRow_0;
  weightStart_0 = u32(row >> 2) * blocks * 4u + (row & 3);
  const uint4 zeros = make_uint4(0u, 0u, 0u, 0u);
  uint4 a_0 = zeros;
  uint4 a_1 = zeros;
  uint4 a_2 = zeros;
  uint4 a_3 = zeros;
  uint4 packed_0 = zeros;
  i32 plain_0 = 0;
  i32 quadruple_0 = 0;
  for (i32 block = member; block < blocks; block += 8u) {
    packed_0 = codes[weightStart_0 + 4u * block];
    const i32 start = u32(block) << 6;
    const i32 at = u32(rowStart_0) + start;
    a_0 = activations[at >> 4];
    const i32 at_1 = u32(rowStart_0) + start + 16u;
    a_1 = activations[at_1 >> 4];
    const i32 at_2 = u32(rowStart_0) + start + 32u;
    a_2 = activations[at_2 >> 4];
    const i32 at_3 = u32(rowStart_0) + start + 48u;
    a_3 = activations[at_3 >> 4];
    const uint4 codes_1 = packed_0;
    const u32 low = codes_1.x;
    const u32 high = low >> 4;
    plain_0 = dot4(a_0.x, low & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_1.x, low & 0x0c0c0c0cu, quadruple_0);
    plain_0 = dot4(a_2.x, high & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_3.x, high & 0x0c0c0c0cu, quadruple_0);
    const u32 low_1 = codes_1.y;
    const u32 high_1 = low_1 >> 4;
    plain_0 = dot4(a_0.y, low_1 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_1.y, low_1 & 0x0c0c0c0cu, quadruple_0);
    plain_0 = dot4(a_2.y, high_1 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_3.y, high_1 & 0x0c0c0c0cu, quadruple_0);
    const u32 low_2 = codes_1.z;
    const u32 high_2 = low_2 >> 4;
    plain_0 = dot4(a_0.z, low_2 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_1.z, low_2 & 0x0c0c0c0cu, quadruple_0);
    plain_0 = dot4(a_2.z, high_2 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_3.z, high_2 & 0x0c0c0c0cu, quadruple_0);
    const u32 low_3 = codes_1.w;
    const u32 high_3 = low_3 >> 4;
    plain_0 = dot4(a_0.w, low_3 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_1.w, low_3 & 0x0c0c0c0cu, quadruple_0);
    plain_0 = dot4(a_2.w, high_3 & 0x03030303u, plain_0);
    quadruple_0 = dot4(a_3.w, high_3 & 0x0c0c0c0cu, quadruple_0);
  }
  plain_0 += u32(quadruple_0 >> 2);
  const i32 local_1 = threadIdx.x;
  i32 count = 1;
  const u32 end = 32u;
  for (u32 mask = 4u; mask < end && mask < 32u; mask *= 2u) {
    plain_0 += u32(__shfl_xor_sync(0xffffffffu, plain_0, mask));
  }
  const i32 lane_1 = threadIdx.x % 32u;
  if (lane_1 < 4) {
    partials[lane_1 * 8u + threadIdx.x / 32u] = plain_0;
  }
  __syncthreads();
  count = 1;
  for (i32 o = local_1; o < 4; o += 32u) {
    i32 sum = partials[o * 8u];
    for (i32 part = 1; part < count; part += 1u) {
      sum += u32(partials[o * 8u + part]);
    }
    const i32 value = sum;
    const i32 index = o / 4;
    const i32 rowLane = o % 4;
    const i32 r = index;
    const i32 row_1 = u32(firstRow) + r;
    const i32 column = 4u * (u32(firstGroup) + index - r) + rowLane;
    if (row_1 < m && column < columns) {
      i32 acc = value;
      acc -= u32(sums[row_1]);
      const i32 acc_1 = acc;
      out[u32(row_1) * n + firstColumn + column] = __int_as_float(acc_1);
    }
  }
}

}  // namespace ternaryGemv
