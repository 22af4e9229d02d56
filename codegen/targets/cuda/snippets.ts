/** Functions that a kernel's text carries where CUDA's own differ from what the kernel IR means. */
export const snippets = {
  maximum: `// The larger, +0 of zeros; NaN if either is.
static __device__ __forceinline__ float maximum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) & __float_as_uint(b));
  return a > b || a != a ? a : b;
}`,
  minimum: `// The smaller, -0 of zeros; NaN if either is.
static __device__ __forceinline__ float minimum(float a, float b) {
  if (a == b) return __uint_as_float(__float_as_uint(a) | __float_as_uint(b));
  return a < b || a != a ? a : b;
}`,
  dot4: `// The sum and four products of signed bytes.
static __device__ __forceinline__ i32 dot4(u32 a, u32 b, i32 sum) {
  return __dp4a(i32(a), i32(b), sum);
}`,
  warp_add: `// The sum over a warp, in every lane the same.
template <typename T>
static __device__ __forceinline__ T warp_add(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}`,
  warp_max: `// The largest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_max(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other > x ? other : x;
  }
  return x;
}`,
  warp_min: `// The smallest of a warp.
template <typename T>
static __device__ __forceinline__ T warp_min(T x) {
  for (u32 distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, distance);
    x = other < x ? other : x;
  }
  return x;
}`,
  warp_multiply: `// Sums, and 16 rows times 8 columns of 32 signed bytes, on the tensor cores.
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
}`,
  uniform_load: `// What lies there for all threads of the block alike, between two barriers.
template <typename T>
static __device__ __forceinline__ T uniform_load(const T* place) {
  __syncthreads();
  const T value = *place;
  __syncthreads();
  return value;
}`,
} as const;

export type Snippet = keyof typeof snippets;
