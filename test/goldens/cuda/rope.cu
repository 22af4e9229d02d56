using i32 = int;
using u32 = unsigned int;

namespace rope {

// Rotary position embedding on NeoX halves:
extern "C" __global__ void __launch_bounds__(32) rope(
  const float* __restrict__ x,
  const float* __restrict__ cos,
  const float* __restrict__ sin,
  const i32* __restrict__ positions,
  float* __restrict__ out,
  const i32 rows,
  const i32 seq,
  const i32 heads,
  const i32 dim,
  const i32 length,
  const i32 xStride
) {
  const i32 half = dim >> 1;
  const i32 rowPairs = u32(heads) * half;
  const i32 stride = gridDim.x * 32u;
  for (i32 pair = blockIdx.x * 32u + threadIdx.x; pair < i32(u32(rows) * rowPairs); pair += u32(stride)) {
    const i32 row = pair / rowPairs;
    const i32 head = i32(pair - u32(row) * rowPairs) / half;
    const i32 i = pair % half;
    const i32 position = u32(positions[row / seq]) + row % seq;
    const i32 clamped = position < length ? position : i32(length - 1u);
    const i32 angle = u32(clamped < 0 ? 0 : clamped) * half + i;
    const i32 from = u32(row) * xStride + u32(head) * dim + i;
    const i32 to = (u32(row) * heads + head) * dim + i;
    const float low = x[from];
    const float high = x[u32(from) + half];
    out[to] = __fmul_rn(low, cos[angle]) - __fmul_rn(high, sin[angle]);
    out[u32(to) + half] = __fmul_rn(high, cos[angle]) + __fmul_rn(low, sin[angle]);
  }
}

}  // namespace rope
