/**
 * WebGPU in Node from npm packages alone: Dawn (`webgpu`) over SwiftShader, the software Vulkan device that
 * `@sparticuz/chromium` ships. Neither root nor a GPU nor system libraries are needed.
 *
 * Dawn looks for Vulkan's loader beside its own module before it asks the system. So the module is linked into
 * a folder together with the loader and the driver, and no variable has to be set before the process starts.
 *
 * `BITLOOM_GPU=system` takes the machine's own GPU instead.
 */
import { existsSync } from "node:fs";
import { copyFile, link, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

interface Dawn {
  readonly create: (flags: string[]) => GPU;
  readonly globals: Record<string, unknown>;
}

const modules = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const drivers = ["libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json"];

/**
 * Shared memory is not zeroed, as on CUDA: no kernel reads what it has not written, and the code that zeroes is more
 * than half of what SwiftShader takes to compile a kernel.
 */
export const dawnFeatures = "enable-dawn-features=disable_workgroup_init";

let opened: Promise<GPU> | undefined;

/**
 * The object that a browser has as `navigator.gpu`, one for the process; WebGPU's classes and constants become
 * globals.
 * @throws what is missing where this machine can have none
 */
export function openGpu(): Promise<GPU> {
  opened ??= loadDawn().then(({ create, globals }) => {
    Object.assign(globalThis, globals);
    GPUDevice.prototype.createComputePipelineAsync = compileNow;
    return create([dawnFeatures]);
  });
  return opened;
}

/** While Dawn compiles in the background it has this thread spin, which costs a core that another test could use. */
async function compileNow(this: GPUDevice, descriptor: GPUComputePipelineDescriptor) {
  this.pushErrorScope("validation");
  const pipeline = this.createComputePipeline(descriptor);
  const error = await this.popErrorScope();
  if (error !== null) throw new Error(error.message);
  return pipeline;
}

/**
 * What lets a process of its own find SwiftShader with the npm package `webgpu` as it is: its loader reads the
 * library path when it starts.
 */
export async function gpuEnvironment(): Promise<Readonly<Record<string, string>>> {
  if (!bundlesDriver()) return {};
  const folder = await linkDriver();
  return { LD_LIBRARY_PATH: folder, VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json") };
}

/**
 * A device with the features kernels use and the largest buffers, or a bare one: without optional features and
 * with WebGPU's least limits.
 * @throws what is missing where this machine has none
 */
export async function openDevice({ bare = false } = {}): Promise<GPUDevice> {
  const gpu = await openGpu();
  const adapter = await gpu.requestAdapter();
  if (adapter === null) {
    throw new Error(
      `Dawn runs on this machine (${process.platform}-${process.arch}) but finds no GPU adapter. ` +
        `Its warnings on standard error say why. Vulkan driver: ${process.env.VK_ICD_FILENAMES ?? "the system's"}.`,
    );
  }
  if (bare) return adapter.requestDevice();
  const wanted: GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
}

/** Elsewhere Dawn brings its driver or the system has one: Metal, Direct3D. */
const bundlesDriver = (): boolean =>
  process.platform === "linux" && process.arch === "x64" && process.env.BITLOOM_GPU !== "system";

async function loadDawn(): Promise<Dawn> {
  if (!bundlesDriver()) return import("webgpu") as Promise<Dawn>;
  const folder = await linkDriver();
  process.env.VK_ICD_FILENAMES = join(folder, "vk_swiftshader_icd.json");
  return createRequire(import.meta.url)(join(folder, "dawn.node")) as Dawn;
}

/** A folder with Dawn and SwiftShader side by side, made on first use. */
async function linkDriver(): Promise<string> {
  const dawn = await packageFile("webgpu", "dist/linux-x64/dawn.node");
  const { archive, read } = await driverArchive();
  const name = `swiftshader-${dawn.version}-${archive.version}`;
  const failures: unknown[] = [];
  for (const parent of [join(modules, ".cache", "bitloom"), join(tmpdir(), "bitloom-cache")]) {
    const folder = join(parent, name);
    if (existsSync(folder)) return folder;
    try {
      await mkdir(parent, { recursive: true });
      const draft = await mkdtemp(join(parent, "unpack-"));
      const files = await read();
      for (const driver of drivers) await writeFile(join(draft, driver), files.get(driver)!);
      await link(dawn.path, join(draft, "dawn.node")).catch(() =>
        copyFile(dawn.path, join(draft, "dawn.node")),
      );
      // Another process may have been faster; then its folder stays.
      await rename(draft, folder).catch(() => rm(draft, { recursive: true }));
      return folder;
    } catch (failure) {
      failures.push(failure);
    }
  }
  throw new AggregateError(failures, "SwiftShader could not be unpacked: neither folder is writable");
}

/** Vulkan's loader for Linux on x64, `libvulkan.so.1`, which finds the drivers of a machine. */
export async function vulkanLoader(): Promise<Buffer> {
  return (await (await driverArchive()).read()).get("libvulkan.so.1")!;
}

async function driverArchive() {
  const archive = await packageFile("@sparticuz/chromium", "bin/swiftshader.tar.br");
  return { archive, read: async () => readTar(brotliDecompressSync(await readFile(archive.path))) };
}

async function packageFile(
  name: string,
  path: string,
): Promise<{ readonly path: string; readonly version: string }> {
  const file = join(modules, name, path);
  if (!existsSync(file))
    throw new Error(`GPU tests need ${path} of the npm package ${name}; run npm install`);
  const { version } = JSON.parse(await readFile(join(modules, name, "package.json"), "utf8"));
  return { path: file, version };
}

/** Files of a tar archive by name. */
function readTar(archive: Buffer): ReadonlyMap<string, Buffer> {
  const BLOCK = 512;
  const files = new Map<string, Buffer>();
  const text = (start: number, end: number) => archive.toString("latin1", start, end).split("\0", 1)[0]!;
  for (let at = 0; at < archive.length && archive[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, at + 136), 8);
    files.set(basename(text(at, at + 100)), archive.subarray(at + BLOCK, at + BLOCK + size));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}
