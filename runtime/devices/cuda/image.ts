import { BitloomError } from "../../../errors/index.ts";
import type { CudaImage, CudaTarget } from "../../manifest.ts";
import type { CudaSession } from "./addon.ts";
import { compileForCard } from "./compile.ts";
import { type CudaMachine, capabilityText } from "./machine.ts";

/** A target's kernels on a card. */
export interface LoadedImage {
  /** The module's number in its session. */
  readonly module: number;
  /** How the kernels came to be machine code, for people. */
  readonly origin: string;
}

/**
 * The images that may run on a card of this compute capability, the best first: machine code for the nearest
 * capability below, then PTX for it, which the driver compiles.
 */
export function suitableImages(images: readonly CudaImage[], capability: number): readonly CudaImage[] {
  const major = (value: number) => Math.floor(value / 10);
  const suits = ({ kind, computeCapability }: CudaImage) =>
    computeCapability <= capability && (kind === "ptx" || major(computeCapability) === major(capability));
  const rank = ({ kind, computeCapability }: CudaImage) => (kind === "cubin" ? 1000 : 0) + computeCapability;
  return images.filter(suits).toSorted((a, b) => rank(b) - rank(a));
}

/**
 * Loads a target's kernels: from an image of the artifact where one suits the card and its driver, and otherwise
 * compiled here from their sources, by NVRTC.
 * @throws BitloomError ASSEMBLE_FAILED with NVRTC's log; NO_DEVICE where there is neither an image nor NVRTC
 */
export async function loadImage(
  session: CudaSession,
  machine: CudaMachine,
  target: CudaTarget,
  readFile: (path: string) => Promise<Uint8Array>,
): Promise<LoadedImage> {
  const { computeCapability } = machine.cards[0]!;
  const refusals: string[] = [];
  for (const { kind, path } of suitableImages(target.images, computeCapability)) {
    const image = await readFile(path);
    try {
      const origin = kind === "cubin" ? "machine code of the build" : "compiled by the driver";
      return { module: await session.addModule(image), origin };
    } catch (error) {
      refusals.push(`${path}: ${(error as Error).message}`);
    }
  }
  try {
    const decoder = new TextDecoder();
    const sources: string[] = [];
    for (const { source } of target.kernels) sources.push(decoder.decode(await readFile(source)));
    const { image, compiler } = await compileForCard(machine, sources.join("\n"));
    return { module: await session.addModule(image), origin: `compiled by ${compiler}` };
  } catch (error) {
    if (error instanceof BitloomError) throw error;
    const architecture = `sm_${computeCapability}`;
    const { code, message } = error as Error & { code?: string };
    if (code === "NVRTC_ERROR") {
      throw new BitloomError("ASSEMBLE_FAILED", "NVRTC does not compile the artifact's kernels", {
        received: [...refusals, message.trim()].join("; "),
        location: "kernels.cu",
        cause: error,
      });
    }
    throw new BitloomError(
      "NO_DEVICE",
      `The artifact has no kernels that run on compute capability ${capabilityText(computeCapability)}, and they cannot be compiled here`,
      {
        expected: `an image for ${architecture}, or NVRTC`,
        received: [...refusals, message].join("; "),
        hint: `Build where nvcc is, with \`--target cuda --arch ${architecture}\`, update NVIDIA's driver, or install NVRTC, a part of the CUDA toolkit.`,
        cause: error,
      },
    );
  }
}
