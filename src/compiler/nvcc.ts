import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BitloomError } from "../../errors/index.ts";

const run = promisify(execFile);

/** The release of the CUDA compiler on the path, such as `13.0`; undefined where there is none. */
export async function nvccVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await run("nvcc", ["--version"]);
    return /release (\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/** What nvcc makes of CUDA C: machine code for `sm_90`, or PTX for `compute_90`. */
export type NvccOutput = { readonly kind: "cubin" | "ptx"; readonly architecture: string };

/**
 * Compiles a translation unit. Options that do not change results may be added.
 * @returns each output, and what the compiler said
 * @throws ASSEMBLE_FAILED with the compiler's own message
 */
export async function runNvcc(
  source: string,
  { kind, architecture }: NvccOutput,
  options: readonly string[] = [],
): Promise<{ readonly bytes: Uint8Array; readonly said: string }> {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-nvcc-"));
  const [input, output] = [join(folder, "kernels.cu"), join(folder, `kernels.${kind}`)];
  try {
    await writeFile(input, source);
    const flags = [`-${kind}`, `-arch=${architecture}`, "-std=c++17", ...options, "-o", output, input];
    const { stderr } = await run("nvcc", flags, { maxBuffer: 2 ** 26 });
    return { bytes: await readFile(output), said: stderr };
  } catch (cause) {
    throw new BitloomError("ASSEMBLE_FAILED", `nvcc does not compile the kernels for ${architecture}`, {
      received: (cause as { stderr?: string }).stderr?.trim() || (cause as Error).message,
      hint: "Build without --arch to leave them as sources, and report this with the kernels folder.",
      cause,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
