/** Compiles emitted CUDA C for this machine's processor: `cuda-host.h` says what comes out. */
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What of these programs this machine lacks, for the names of tests that are skipped; undefined if nothing. */
export function missingPrograms(...names: readonly string[]): string | undefined {
  const missing = names.filter((name) => spawnSync(name, ["--version"]).error !== undefined);
  return missing.map((name) => `no ${name}`).join(", ") || undefined;
}

/** The text of one kernel, and what it is to be called. */
export interface HostKernel {
  readonly text: string;
  /** Its name in the text: of its namespace, and of the function in it. */
  readonly entryPoint: string;
  readonly blockSize: number;
  /** Its name in the library; the entry point's if absent. */
  readonly name?: string;
}

const folder = fileURLToPath(new URL("./", import.meta.url));
const cache = join(tmpdir(), "bitloom-cache", "cuda-host");
/** What C++ leaves undefined ends the process, so that kernels cannot rely on it. */
const flags = [
  ..."-std=c++17 -O1 -fPIC -ffp-contract=off -fvisibility=hidden -Wall -Wextra".split(" "),
  "-fsanitize=signed-integer-overflow,shift,integer-divide-by-zero,bounds",
  "-fsanitize-undefined-trap-on-error",
];

/**
 * The path of a shared library with these kernels, made where it is not known from earlier.
 * @throws what the compiler says, or that there is none
 */
export async function buildHostLibrary(kernels: readonly HostKernel[]): Promise<string> {
  const source = ['#include "cuda-host.h"', ...kernels.map(hostText)].join("\n");
  return compileCached(source, ["-shared"], "so", "cuda-host.h");
}

/** The path of a program from a file of this folder, made where it is not known from earlier. */
export async function buildHostProgram(file: string): Promise<string> {
  return compileCached(readFileSync(join(folder, file), "utf8"), ["-ldl"], "exe");
}

function hostText({ text, entryPoint, blockSize, name = entryPoint }: HostKernel): string {
  const shared = `static __attribute__((section("shared_${name}"))) cuda_host::Shared<$1, $3> $2;`;
  const traced = text.replace(/__shared__ ([\w ]+) (\w+)\[(\d+)\];/g, shared);
  const renamed =
    name === entryPoint ? [[], []] : [[`#define ${entryPoint} ${name}`], [`#undef ${entryPoint}`]];
  const lines = [...renamed[0]!, traced, ...renamed[1]!];
  return [...lines, `CUDA_HOST_KERNEL(${name}, ${blockSize})`, ""].join("\n");
}

/**
 * The path of what g++ makes of a source, made where it is not known from earlier.
 * @param more flags besides those of every compilation here
 * @param included files of this folder that the source includes
 */
export async function compileCached(
  source: string,
  more: readonly string[],
  extension: string,
  ...included: readonly string[]
): Promise<string> {
  const hash = createHash("sha256");
  for (const part of [
    source,
    ...flags,
    ...more,
    ...included.map((file) => readFileSync(join(folder, file))),
  ]) {
    hash.update(part);
  }
  const name = hash.digest("hex").slice(0, 32);
  const path = join(cache, `${name}.${extension}`);
  if (existsSync(path)) return path;
  await mkdir(cache, { recursive: true });
  // Others may be at the same file: each has a name of its own until it is whole.
  const draft = join(cache, `${name}.${process.pid}`);
  await writeFile(`${draft}.cpp`, source);
  try {
    await run("g++", [...flags, "-I", folder, `${draft}.cpp`, "-o", `${draft}.${extension}`, ...more]);
    await rename(`${draft}.${extension}`, path);
  } catch (cause) {
    const { code, stderr } = cause as { code?: unknown; stderr?: string };
    if (code === "ENOENT") {
      throw new Error("CUDA kernels are tested on the processor through g++, which is not installed", {
        cause,
      });
    }
    throw new Error(`g++ does not compile ${draft}.cpp\n${stderr}`, { cause });
  }
  await rm(`${draft}.cpp`);
  return path;
}
