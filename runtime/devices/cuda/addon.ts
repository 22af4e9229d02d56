import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BitloomError } from "../../../errors/index.ts";

/** A card. */
export interface CudaCard {
  /** `NVIDIA H100 80GB HBM3` */
  readonly name: string;
  /** 10 * major + minor. */
  readonly computeCapability: number;
  readonly multiprocessors: number;
  readonly totalBytes: number;
}

/** A place in a region of device memory, by the region's number. */
export interface Place {
  readonly region: number;
  readonly offset: number;
}

/** An address, or four bytes. */
export type LaunchArgument = Place | { readonly i32: number } | { readonly f32: number };

/** One launch. */
export interface Launch {
  readonly kernel: number;
  /** Blocks along x and y. */
  readonly grid: readonly [number, number];
  readonly arguments: readonly LaunchArgument[];
}

/** What one model has on a card. One asynchronous call at a time; all throw errors with a `code`. */
export interface CudaSession {
  memory(): { readonly freeBytes: number; readonly totalBytes: number };
  /** Allocates regions of these sizes, numbered from 0, full of zeros; earlier ones and their programs are gone. */
  allocate(sizes: readonly number[]): Promise<void>;
  /** Loads a cubin or PTX, and numbers it. */
  addModule(image: Uint8Array): Promise<number>;
  addKernel(module: number, entryPoint: string, blockSize: number): number;
  /** Copies bytes into a region; they may change once this returns. */
  write(region: number, offset: number, bytes: Uint8Array): void;
  clear(region: number): void;
  addProgram(launches: readonly Launch[]): number;
  removeProgram(program: number): void;
  /** Runs a program to its end, and copies places of regions. */
  run(program: number, outputs: readonly (Place & { readonly bytes: number })[]): Promise<ArrayBuffer[]>;
  dispose(): Promise<void>;
}

/** The addon as `runtime/native/addon.cpp` makes it. Libraries are found as the system does, or are paths. */
export interface CudaAddon {
  /** @param driver path of libcuda; empty for the system's */
  probe(driver: string): Promise<{ readonly driverVersion: number; readonly devices: readonly CudaCard[] }>;
  open(driver: string, ordinal: number): Promise<CudaSession>;
  /** @param compilers names of NVRTC, of which the first is taken that is there */
  describeCompiler(compilers: readonly string[]): {
    readonly name: string;
    readonly major: number;
    readonly minor: number;
    /** Compute capabilities it compiles for: 10 * major + minor, ascending. */
    readonly architectures: readonly number[];
  };
  /** @returns a cubin for a real architecture, such as sm_90, and PTX for a virtual one, such as compute_90 */
  compile(
    compilers: readonly string[],
    source: string,
    name: string,
    options: readonly string[],
  ): Promise<Uint8Array>;
}

const platform = `${process.platform}-${process.arch}`;

/**
 * Loads the addon that is packed with bitloom for this platform, or was built on this machine; the environment's
 * `BITLOOM_CUDA_ADDON` is the path of one to take instead.
 * @throws BitloomError NO_DEVICE where there is none, or it does not load
 */
export function loadAddon(): CudaAddon {
  const require = createRequire(import.meta.url);
  const path = process.env.BITLOOM_CUDA_ADDON ?? addonPath(require);
  if (path === undefined || !existsSync(path)) {
    throw new BitloomError("NO_DEVICE", `bitloom has no CUDA addon for ${platform} here`, {
      ...(path !== undefined && { expected: path }),
      hint: "Build it with `npx bitloom doctor --build-addon`, which takes cmake and a C++ compiler.",
    });
  }
  try {
    return require(path) as CudaAddon;
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", "bitloom's CUDA addon does not load on this machine", {
      received: (cause as Error).message,
      hint: "Build it here with `npx bitloom doctor --build-addon`, which takes cmake and a C++ compiler.",
      cause,
    });
  }
}

/** Where the addon belongs; undefined where bitloom's package is not found, as from within a bundle. */
function addonPath(require: NodeJS.Require): string | undefined {
  try {
    return join(dirname(require.resolve("bitloom/package.json")), "prebuilds", platform, "bitloom_cuda.node");
  } catch {
    return undefined;
  }
}
