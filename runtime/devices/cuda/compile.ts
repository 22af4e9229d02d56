import { type CudaMachine, capabilityText } from "./machine.ts";

/** Kernels compiled on this machine. */
export interface CompiledImage {
  readonly image: Uint8Array;
  /** `NVRTC 13.0` */
  readonly compiler: string;
}

/**
 * Has NVRTC compile CUDA C for the machine's first card: to machine code, or where NVRTC is older than the card to PTX
 * for the newest compute capability that both know, which the driver compiles.
 * @throws Error with the code NO_LIBRARY or OLD_COMPILER where there is no NVRTC that can, NVRTC_ERROR with its log
 */
export async function compileForCard(
  { addon, cards, compilers }: Pick<CudaMachine, "addon" | "cards" | "compilers">,
  source: string,
): Promise<CompiledImage> {
  const { computeCapability } = cards[0]!;
  const { name, major, minor, architectures } = addon.describeCompiler(compilers);
  const newest = architectures.findLast((known) => known <= computeCapability);
  if (newest === undefined) {
    const message = `${name} compiles for no compute capability up to ${capabilityText(computeCapability)}`;
    throw Object.assign(new Error(message), { code: "OLD_COMPILER" });
  }
  const architecture = newest < computeCapability ? `compute_${newest}` : `sm_${computeCapability}`;
  const options = [`--gpu-architecture=${architecture}`, "--std=c++17"];
  const image = await addon.compile(compilers, source, "kernels.cu", options);
  return { image, compiler: `NVRTC ${major}.${minor}` };
}
