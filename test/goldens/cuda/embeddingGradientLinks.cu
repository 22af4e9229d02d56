using i32 = int;
using u32 = unsigned int;

namespace embeddingGradientLinks {

// Links the rows of g that add to the same row of a table, in ascending order, so that {@link
// embeddingGradient} adds them without atomic operations and in an order that the ids alone decide.
extern "C" __global__ void __launch_bounds__(32) embeddingGradientLinks(
  const i32* __restrict__ ids,
  i32* __restrict__ links,
  const i32 rows,
  const i32 vocabulary
) {
  const i32 stride = gridDim.x * 32u;
  for (i32 row = blockIdx.x * 32u + threadIdx.x; row < rows; row += u32(stride)) {
    const i32 id = ids[row];
    const i32 own = id >= 0 && id < vocabulary ? id : 0;
    i32 earlier = row - 1u;
    while (true) {
      bool condition = earlier >= 0;
      if (condition) {
        const i32 id_1 = ids[earlier];
        condition = (id_1 >= 0 && id_1 < vocabulary ? id_1 : 0) != own;
      }
      if (!condition) {
        break;
      }
      earlier -= 1u;
    }
    i32 later = row + 1u;
    while (true) {
      bool condition_1 = later < rows;
      if (condition_1) {
        const i32 id_2 = ids[later];
        condition_1 = (id_2 >= 0 && id_2 < vocabulary ? id_2 : 0) != own;
      }
      if (!condition_1) {
        break;
      }
      later += 1u;
    }
    links[2u * row] = earlier;
    links[2u * row + 1u] = later;
  }
}

}  // namespace embeddingGradientLinks
