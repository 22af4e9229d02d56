/**
 * What the fake driver's NVRTC compiles with, `jiti fake-compiler.ts SOURCE IMAGE`: CUDA C of any number of kernels
 * becomes the shared library that is the driver's cubin.
 */
import { copyFile, readFile } from "node:fs/promises";
import { buildHostLibrary, type HostKernel } from "./host-library.ts";

/** The kernels of a translation unit; each is a namespace of its name, and what stands before the first goes with it. */
function kernelsOf(source: string): HostKernel[] {
  return source.split(/^(?=namespace \w+ \{$)/m).flatMap((text, i, all): HostKernel[] => {
    const name = /^namespace (\w+) \{$/m.exec(text)?.[1];
    if (name === undefined) return [];
    const blockSize = Number(/__launch_bounds__\((\d+)/.exec(text)![1]);
    // Kernels of one name have others by the definition before them.
    const [, from, to = name] = [...all[i - 1]!.matchAll(/^#define (\w+) (\w+)$/gm)].at(-1) ?? [];
    const entryPoint = from === name ? to : name;
    return [{ text: i === 1 ? all[0] + text : text, entryPoint, blockSize }];
  });
}

const [source, image] = process.argv.slice(2) as [string, string];
await copyFile(await buildHostLibrary(kernelsOf(await readFile(source, "utf8"))), image);
