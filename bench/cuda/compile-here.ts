/** Kernels are compiled by NVRTC where it is, in this process; nvcc takes several times as long. */
import { compileForCard } from "../../runtime/devices/cuda/compile.ts";
import type { CudaMachine } from "../../runtime/devices/cuda/machine.ts";
import { runNvcc } from "../../src/compiler/nvcc.ts";

function hasNvrtc({ addon, compilers }: CudaMachine): boolean {
  try {
    addon.describeCompiler(compilers);
    return true;
  } catch {
    return false;
  }
}

/** `sm_90` of the first card. */
export const architectureOf = ({ cards }: CudaMachine): string => `sm_${cards[0]!.computeCapability}`;

/** What to build an artifact's kernels for: nothing where they can be compiled when they are loaded. */
export function architecturesFor(machine: CudaMachine): readonly string[] {
  return hasNvrtc(machine) ? [] : [architectureOf(machine)];
}

/** Machine code for the first card. */
export async function compileHere(machine: CudaMachine, source: string): Promise<Uint8Array> {
  if (!hasNvrtc(machine)) {
    return (await runNvcc(source, { kind: "cubin", architecture: architectureOf(machine) })).bytes;
  }
  return (await compileForCard(machine, source)).image;
}
