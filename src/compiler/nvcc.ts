import { execFile, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { BitloomError } from "../../errors/index.ts";
import { throwIfAborted } from "../../runtime/abort.ts";
import { withTemporaryFolder } from "../files/temporary.ts";

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

/** Names such as `sm_90` that the CUDA compiler on the path knows. */
export async function nvccArchitectures(): Promise<readonly string[]> {
  const { stdout } = await run("nvcc", ["--list-gpu-code"]);
  return stdout.trim().split(/\s+/);
}

/**
 * Compiles a translation unit. Options that do not change results may be added.
 * @returns each output, and what the compiler said
 * @throws BitloomError ASSEMBLE_FAILED with the compiler's own message, ABORTED
 */
export async function runNvcc(
  source: string,
  { kind, architecture }: NvccOutput,
  options: readonly string[] = [],
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly said: string }> {
  return withTemporaryFolder("bitloom-nvcc", async (folder) => {
    const [input, output] = [join(folder, "kernels.cu"), join(folder, `kernels.${kind}`)];
    await writeFile(input, source);
    const flags = [`-${kind}`, `-arch=${architecture}`, "-std=c++17", ...options, "-o", output, input];
    const { status, said } = await runGroup("nvcc", flags, signal);
    throwIfAborted(signal);
    if (status === 0) return { bytes: await readFile(output), said };
    throw new BitloomError("ASSEMBLE_FAILED", `nvcc does not compile the kernels for ${architecture}`, {
      received: said.trim() || `exit status ${status}`,
      hint: "Build without the target cuda, and report this with the artifact's kernels folder.",
    });
  });
}

/** Runs a program that starts others; all of them end where the signal says so. */
async function runGroup(program: string, args: readonly string[], signal: AbortSignal | undefined) {
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "ignore", "pipe"] });
  const end = () => {
    try {
      process.kill(-child.pid!);
    } catch {
      // It has not begun, or ended by itself; Windows has no groups.
      child.kill();
    }
  };
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const status = await new Promise<number | null>((resolve) => {
    child.on("error", (error) => {
      said += error.message;
      resolve(null);
    });
    child.on("close", resolve);
  });
  signal?.removeEventListener("abort", end);
  return { status, said };
}
