import { anyTernaryProducts, type TernaryProducts, ternaryMatmulRule } from "../gpu/matmul.ts";
import { gpuRules } from "../gpu/rules.ts";
import type { RuleTable } from "../rules.ts";

const WARP = 32;
const TILE_ROWS = 16;
const TILE_COLUMNS = 8;

const cudaTernaryProducts: TernaryProducts = {
  /** On the tensor cores; scales of groups come between their sums, which the shared kernel knows. */
  manyRows(shape) {
    if (shape.grouped) return anyTernaryProducts.manyRows(shape);
    // A narrow product is cut into smaller tiles, so that all multiprocessors have one.
    const columnTiles = shape.n > 4096 ? 4 : 2;
    const options = { workgroupSize: 128, rowTiles: 4, columnTiles };
    return {
      template: "ternary-tensor-gemm",
      options,
      columns: (options.workgroupSize / WARP) * TILE_COLUMNS * columnTiles,
      tileRows: TILE_ROWS * options.rowTiles,
    };
  },
  // A row of 2560 to 8192 weights is one or two rounds of loads, whose latencies overlap.
  ahead: 4,
};

/** Every op on NVIDIA's GPUs. */
export const cudaRules: RuleTable = {
  ...gpuRules,
  ternary_matmul: ternaryMatmulRule(cudaTernaryProducts),
};
