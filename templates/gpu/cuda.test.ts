import { describe, expect, test } from "vitest";
import { loadTemplate, specialize, templatePath } from "../../codegen/index.ts";
import { schedule } from "../../codegen/schedule/schedule.ts";
import { type CudaSource, renderCuda } from "../../codegen/targets/cuda/render.ts";
import { cudaBody } from "../../src/compiler/cuda-target.ts";
import { nvccVersion, runNvcc } from "../../src/compiler/nvcc.ts";
import { readResources } from "../../test/support/cuda/resources.ts";
import { specializations, specializeGpu } from "../../test/support/kernels/gpu-specializations.ts";
import { storedAcc } from "../../test/support/kernels/gpu-variants.ts";
import { smallModel } from "../../test/support/small-model.ts";

const warps = { subgroups: true };

describe.each(specializations)("$kernel", (specialization) => {
  test("reads well as CUDA C", async () => {
    const { text } = renderCuda(await specializeGpu(specialization, { ...specialization.small, ...warps }));
    await expect(text).toMatchFileSnapshot(`../../test/goldens/cuda/${specialization.kernel}.cu`);
  });
});

/** Every template in both sizes, and every kernel of a small language model. */
async function everyKernel(): Promise<CudaSource[]> {
  const templates = specializations.flatMap((specialization) => {
    const { kernel, small, large } = specialization;
    return [
      specializeGpu(specialization, { ...small, ...warps }, `${kernel}_small`),
      specializeGpu(specialization, { ...small, ...large, ...warps }, `${kernel}_large`),
    ];
  });
  // Its tiles for narrow weights and for wide ones.
  const tensor = await loadTemplate(templatePath("cuda/ternary-tensor-gemm.ts"), "ternaryTensorGemm");
  const products = [2, 4].map((columnTiles) =>
    specialize(tensor, {
      name: `ternaryTensorGemm_${columnTiles}`,
      options: { workgroupSize: 128, rowTiles: 4, columnTiles, epilogue: storedAcc("i32") },
    }),
  );
  const plan = await schedule(smallModel().entries, { targets: ["cuda"], maxThreads: 1 });
  const planned = plan.targets.cuda!.kernels.map(cudaBody);
  return [...(await Promise.all(templates)), ...products, ...planned].map(renderCuda);
}

const version = await nvccVersion();
const reason = version === undefined ? " (skipped: there is no nvcc on the path)" : "";

describe.skipIf(version === undefined)(`compiled by nvcc${reason}`, () => {
  test.each(["sm_80", "sm_90"])(
    "no warnings and no spills on %s, and so many registers",
    async (architecture) => {
      const source = (await everyKernel()).map(({ text }) => text).join("\n");
      const { bytes, said } = await runNvcc(source, { kind: "cubin", architecture }, [
        ..."-Werror all-warnings -Xptxas -v".split(" "),
      ]);
      expect(bytes.length).toBeGreaterThan(0);
      const all = readResources(said);
      expect(all.filter(({ stackBytes, spillBytes }) => stackBytes + spillBytes > 0)).toEqual([]);
      const table = all.map(
        ({ kernel, registers, sharedBytes }) => `${kernel}: ${registers}, ${sharedBytes}`,
      );
      // Other releases allocate otherwise.
      if (version !== "13.0") return;
      await expect(`registers, bytes of shared memory\n\n${table.join("\n")}\n`).toMatchFileSnapshot(
        `../../test/goldens/cuda/registers.${architecture}.txt`,
      );
    },
  );

  test("nothing is contracted but inside of CUDA's own functions", async () => {
    const sources = (await everyKernel()).filter(({ text }) => !text.includes("__frsqrt_rn"));
    const { bytes } = await runNvcc(sources.map(({ text }) => text).join("\n"), {
      kind: "ptx",
      architecture: "compute_80",
    });
    const text = new TextDecoder().decode(bytes);
    expect(text).toContain("mul.rn.f32");
    expect(text).not.toMatch(/\bfma\.|\bmad\.f32/);
  });
});
