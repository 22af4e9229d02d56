import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadTemplate, specialize, templatePath } from "../../codegen/index.ts";
import { renderCuda } from "../../codegen/targets/cuda/render.ts";
import { missingPrograms } from "../../test/support/cuda/host-library.ts";
import { CudaKernelHost, type CudaKernelRun } from "../../test/support/cuda/kernel-host.ts";
import { storedAcc } from "../../test/support/kernels/gpu-variants.ts";
import {
  anyTernaryCase,
  expectTernaryProduct,
  filled,
  type TernaryCase,
} from "../../test/support/kernels/ternary.ts";
import { packTernaryCodes, padActivations } from "../../test/support/pack.ts";

interface Shape {
  readonly workgroupSize: 64 | 128;
  readonly rowTiles: 1 | 2 | 4;
  readonly columnTiles: 1 | 2 | 4;
}

const shapes: readonly Shape[] = [
  { workgroupSize: 64, rowTiles: 1, columnTiles: 1 },
  { workgroupSize: 128, rowTiles: 2, columnTiles: 2 },
  { workgroupSize: 128, rowTiles: 4, columnTiles: 4 },
];

async function kernelOf(shape: Shape, epilogue = storedAcc("i32")) {
  const template = await loadTemplate(templatePath("cuda/ternary-tensor-gemm.ts"), "ternaryTensorGemm");
  return specialize(template, { name: "ternaryTensorGemm", options: { ...shape, epilogue } });
}

test("reads well", async () => {
  const { text } = renderCuda(await kernelOf(shapes[0]!, storedAcc("i32")));
  await expect(text).toMatchFileSnapshot("../../test/goldens/cuda/ternaryTensorGemm.cu");
});

const missing = missingPrograms("g++");

describe.skipIf(missing !== undefined).each(shapes)(
  `$workgroupSize threads, $rowTiles times 16 rows, $columnTiles times 8 columns (${missing ?? "through g++"})`,
  (shape) => {
    let host: CudaKernelHost;
    let kernel: CudaKernelRun;
    beforeAll(async () => {
      host = await CudaKernelHost.open();
      kernel = await host.load(await kernelOf(shape));
    }, 60_000);
    afterAll(() => host?.close());

    /** Accumulators [m, n], columns from `cut` on by a launch of their own. */
    async function run({ m, n, k, q, w }: TernaryCase, cut = n): Promise<Float32Array> {
      const out = new Float32Array(m * n).fill(42);
      const width = (shape.workgroupSize / 32) * 8 * shape.columnTiles;
      for (const [first, last] of [
        [0, cut],
        [cut, n],
      ] as const) {
        const columns = last - first;
        if (columns === 0) continue;
        const codes = packTernaryCodes(w.slice(first * k, last * k), columns, k, k);
        await kernel(
          { codes, activations: padActivations(q, m, k), out, m, n, k, firstColumn: first, columns },
          { workgroups: [Math.ceil(columns / width), Math.ceil(m / (16 * shape.rowTiles))] },
        );
      }
      return out;
    }

    test("multiplies any shape exactly", () =>
      fc.assert(
        fc.asyncProperty(
          anyTernaryCase.filter(({ group }) => group === undefined),
          fc.nat({ max: 2 }),
          async (c, cut) => expectTernaryProduct(await run(c, Math.min(4 * cut, c.n)), c),
        ),
        { numRuns: 10 },
      ));

    test("tiles that are whole and that are not, many steps along k", async () => {
      const [m, n, k] = [83, 150, 400];
      const q = filled(m * k, (i) => ((i * 37 + (i >> 4)) % 255) - 127);
      const w = filled(n * k, (i) => ((i * 7 + (i >> 5)) % 3) - 1);
      const c = { m, n, k, q, w };
      expectTernaryProduct(await run(c), c);
    });

    test("the longest sum of the largest products", async () => {
      const k = 131_072;
      const c = { m: 2, n: 4, k, q: filled(2 * k, () => -128), w: filled(4 * k, () => -1) };
      expectTernaryProduct(await run(c), c);
    });
  },
);
