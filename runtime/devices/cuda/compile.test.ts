import { beforeAll, describe, expect, it, vi } from "vitest";
import { fakeDriver, missingTools } from "../../../test/support/cuda/fake-driver.ts";
import { type CudaAddon, loadAddon } from "./addon.ts";
import { compileForCard } from "./compile.ts";
import { compilerNames } from "./machine.ts";

const source = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }';

it("an NVRTC that knows no architecture as old as the card's does not suit it", async () => {
  const describeCompiler = () => ({
    name: "libnvrtc.so.13",
    major: 13,
    minor: 0,
    architectures: [75, 80, 90],
  });
  const addon = { describeCompiler, compile: vi.fn() } as unknown as CudaAddon;
  const cards = [{ name: "", computeCapability: 70, multiprocessors: 1, totalBytes: 0 }];
  await expect(compileForCard({ addon, compilers: [], cards }, source)).rejects.toMatchObject({
    code: "OLD_COMPILER",
    message: expect.stringContaining("up to 7.0"),
  });
  expect(addon.compile).not.toHaveBeenCalled();
});

describe.skipIf(missingTools !== undefined)(
  `NVIDIA's own NVRTC (${missingTools ?? "through the addon"})`,
  () => {
    let addon: CudaAddon;
    const compilers = process.env.BITLOOM_LIBNVRTC ? [process.env.BITLOOM_LIBNVRTC] : compilerNames(13);
    beforeAll(async () => {
      const { environment } = await fakeDriver();
      vi.stubEnv("BITLOOM_CUDA_ADDON", environment.BITLOOM_CUDA_ADDON!);
      addon = loadAddon();
      vi.unstubAllEnvs();
    }, 120_000);

    const compile = (computeCapability: number) => {
      const card = { name: "", computeCapability, multiprocessors: 1, totalBytes: 0 };
      return compileForCard({ addon, compilers, cards: [card] }, source);
    };
    const missing = (): string | undefined => {
      try {
        addon.describeCompiler(compilers);
        return undefined;
      } catch (error) {
        return `no NVRTC here: ${(error as Error).message}`;
      }
    };

    it("makes machine code for a card it knows", async ({ skip }) => {
      const without = missing();
      skip(without !== undefined, without);
      const { image, compiler } = await compile(90);
      expect(Buffer.from(image.subarray(1, 4)).toString()).toBe("ELF");
      expect(compiler).toMatch(/^NVRTC \d+\.\d+$/);
    });

    it("makes PTX for a card from its future", async ({ skip }) => {
      const without = missing();
      skip(without !== undefined, without);
      const newest = Math.max(...addon.describeCompiler(compilers).architectures);
      const { image } = await compile(newest + 10);
      expect(Buffer.from(image).toString()).toContain(`.target sm_${newest}`);
    });
  },
);
