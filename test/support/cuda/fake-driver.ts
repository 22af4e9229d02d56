/** A machine with NVIDIA cards that are none: `fake-driver.cpp`, the addon, and where a process finds both. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { CudaAddon, CudaSession } from "../../../runtime/devices/cuda/addon.ts";
import type { Manifest } from "../../../runtime/manifest.ts";
import { parseManifest } from "../../../runtime/parse-manifest.ts";
import { sha256Chunks } from "../fake-artifact.ts";
import { buildHostLibrary, compileCached, missingPrograms } from "./host-library.ts";

const require = createRequire(import.meta.url);
const native = fileURLToPath(new URL("../../../runtime/native/", import.meta.url));

/** What is to happen; everything not named is as on a machine with one card. */
export interface FakeSettings {
  /** The driver's CUDA: 13000. */
  readonly version?: number;
  readonly devices?: number;
  readonly computeCapability?: number;
  readonly memoryBytes?: number;
  /** The entry point of the kernel that faults. */
  readonly faultyKernel?: string;
  /** A function of the driver, such as `cuGraphInstantiateWithFlags`, and the CUresult it always answers with. */
  readonly failingFunction?: string;
  readonly failure?: number;
  /** The cubin that NVRTC makes of whatever it is given; absent: it refuses, with this log. */
  readonly compiled?: Uint8Array;
  readonly compilerLog?: string;
}

/** What has happened since `configure`, and what is alive now. */
export interface FakeState {
  /** Kernels run, those of graphs too. */
  readonly launches: number;
  readonly graphLaunches: number;
  readonly synchronizations: number;
  readonly allocatedBytes: number;
  /** Contexts, streams, events, modules, graphs, pieces of memory, and contexts that are current to a thread. */
  readonly handles: number;
  readonly compilerOptions: string;
  readonly compiledSource: string;
}

export interface FakeDriver {
  configure(settings: FakeSettings): void;
  state(): FakeState;
  /** The environment of a process that is to find this machine. */
  readonly environment: Readonly<Record<string, string>>;
}

/** What this machine lacks to build the fake and the addon; undefined if nothing. */
export const missingTools = missingPrograms("g++", "cmake");

/** Builds both, or takes what was built of the same sources before. */
export async function fakeDriver(): Promise<FakeDriver> {
  const [driver, addon] = await Promise.all([buildDriver(), buildAddon()]);
  const { configure, state } = require(driver) as Pick<FakeDriver, "configure" | "state">;
  const environment = {
    BITLOOM_CUDA_ADDON: addon,
    BITLOOM_LIBCUDA: driver,
    BITLOOM_LIBNVRTC: driver,
  };
  return { configure, state, environment };
}

/** A card that is really there. */
export interface RealCard {
  readonly architecture: string;
  /** The environment of a process that is to run on it with the addon as it is in this repository. */
  readonly environment: Readonly<Record<string, string>>;
}

/** This machine's card, which tests take rather than the fake where they can; undefined where there is none. */
export async function realCard(): Promise<RealCard | undefined> {
  const addon = await buildAddon();
  const { devices } = await (require(addon) as CudaAddon).probe("").catch(() => ({ devices: [] }));
  const [card] = devices;
  return (
    card && {
      architecture: `sm_${card.computeCapability}`,
      environment: { BITLOOM_CUDA_ADDON: addon },
    }
  );
}

/** A session on the first card of a machine with this environment. */
export function openSession(environment: Readonly<Record<string, string>>): Promise<CudaSession> {
  const { BITLOOM_CUDA_ADDON: addon, BITLOOM_LIBCUDA: driver = "" } = environment;
  return (require(addon!) as CudaAddon).open(driver, 0);
}

/** The environment of a process whose NVRTC compiles, by g++, through a script that is put into `folder`. */
export async function compilingEnvironment(folder: string): Promise<Readonly<Record<string, string>>> {
  const { environment } = await fakeDriver();
  const script = join(folder, "nvrtc");
  const jiti = join(dirname(require.resolve("jiti/package.json")), "lib/jiti-cli.mjs");
  const source = fileURLToPath(new URL("./fake-compiler.ts", import.meta.url));
  const words = [process.execPath, jiti, source].map((word) => `'${word}'`).join(" ");
  writeFileSync(script, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  return { ...environment, BITLOOM_FAKE_COMPILER: script };
}

/** What the fake driver takes for a cubin of an artifact's kernels. */
export async function fakeImage(artifact: string): Promise<Uint8Array> {
  const kernels = readManifest(artifact).targets.cuda!.kernels.map(({ source, entryPoint, blockSize }) => ({
    text: readFileSync(join(artifact, source), "utf8"),
    entryPoint,
    blockSize,
  }));
  return readFileSync(await buildHostLibrary(kernels));
}

/** Gives an artifact the fake driver's image of its kernels, in place of others. */
export async function addFakeImage(artifact: string): Promise<void> {
  const manifest = readManifest(artifact);
  const image = { kind: "cubin", computeCapability: 90, path: "kernels.sm_90.cubin" } as const;
  const bytes = await fakeImage(artifact);
  const file = { path: image.path, bytes: bytes.length, sha256: sha256Chunks(bytes) };
  writeFileSync(join(artifact, image.path), bytes);
  const { targets, files } = manifest;
  const changed = {
    ...manifest,
    files: [...files.filter(({ path }) => path !== image.path), file],
    targets: { ...targets, cuda: { ...targets.cuda, images: [image] } },
  };
  writeFileSync(join(artifact, "manifest.json"), JSON.stringify(changed));
}

const readManifest = (artifact: string): Manifest =>
  parseManifest(readFileSync(join(artifact, "manifest.json"), "utf8"));

function buildDriver(): Promise<string> {
  const source = readFileSync(new URL("./fake-driver.cpp", import.meta.url), "utf8");
  const { include_dir: headers } = require("node-api-headers") as { include_dir: string };
  return compileCached(source, ["-shared", "-fvisibility=default", "-I", headers, "-ldl"], "node");
}

async function buildAddon(): Promise<string> {
  const hash = createHash("sha256").update(process.version);
  for (const file of readdirSync(native).sort()) hash.update(readFileSync(join(native, file)));
  const folder = join(tmpdir(), "bitloom-cache", "cuda-addon", hash.digest("hex").slice(0, 32));
  const path = join(folder, "bitloom_cuda.node");
  if (!existsSync(path)) {
    await promisify(execFile)(process.execPath, [join(native, "build.js"), "--out", dirname(path)]);
  }
  return path;
}
