import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../../codegen/kernel/template-path.ts";
import { formatBytes } from "../../../codegen/schedule/bytes.ts";
import { BitloomError } from "../../../errors/index.ts";
import { capabilityText, cudaFeatures } from "../../../runtime/devices/cuda/machine.ts";
import { findAdapter } from "../../../runtime/devices/webgpu/adapter.ts";
import { probeNumerics } from "../../../runtime/devices/webgpu/numerics.ts";
import { wasmFeatures } from "../../../runtime/index.ts";
import { version } from "../../version.ts";

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do about it. */
  readonly advice?: string;
}

export interface DoctorOptions {
  readonly json?: boolean;
  readonly buildAddon?: boolean;
}

/** Tells what this machine can run and what it would take to run more. */
export async function doctor({ json, buildAddon }: DoctorOptions): Promise<void> {
  if (buildAddon) compileAddon();
  const findings = await examine();
  if (json) {
    process.stdout.write(`${JSON.stringify({ version, findings })}\n`);
    return;
  }
  process.stdout.write(`bitloom ${version}\n\n`);
  for (const { name, ok, detail, advice } of findings) {
    process.stdout.write(`  ${ok ? "yes" : "no "}  ${name}: ${detail}\n`);
    if (advice !== undefined) process.stdout.write(`       ${advice}\n`);
  }
}

async function examine(): Promise<Finding[]> {
  const { simd, relaxedSimd, threads } = wasmFeatures();
  const engine = `Node ${process.versions.node}, V8 ${process.versions.v8}`;
  return [
    {
      name: "WebAssembly with SIMD",
      ok: simd,
      detail: engine,
      ...(!simd && { advice: "Use Node 20.19 or newer." }),
    },
    {
      name: "Relaxed SIMD",
      ok: relaxedSimd,
      detail: relaxedSimd
        ? "the int8 dot product is there and computes rightly"
        : "not in this engine; kernels use baseline SIMD, about half as fast",
      ...(!relaxedSimd && { advice: "Use Node 22 or newer." }),
    },
    {
      name: "Threads",
      ok: threads,
      detail: threads
        ? `${availableParallelism()} at once, on ${cpus()[0]?.model ?? "unknown"}`
        : "no shared memory",
    },
    { name: "Memory", ok: true, detail: `${formatBytes(totalmem())}; an artifact may use up to 4.29 GB` },
    await finding("WebGPU", examineGpu),
    await finding("CUDA", examineCuda),
    examineNvcc(),
  ];
}

/** What an examination finds, or why there is nothing to find. */
async function finding(name: string, examine: () => Promise<Omit<Finding, "name">>): Promise<Finding> {
  try {
    return { name, ...(await examine()) };
  } catch (error) {
    if (!(error instanceof BitloomError)) throw error;
    const [summary] = error.message.split(" [", 1);
    const { expected, received, hint } = error;
    const details = [summary, expected && `needed: ${expected}`, received].filter(Boolean);
    return { name, ok: false, detail: details.join("; "), advice: hint };
  }
}

async function examineCuda(): Promise<Omit<Finding, "name">> {
  const { driver, cards, freeBytes, compiler } = await cudaFeatures();
  const names = cards.map(
    ({ name, computeCapability, multiprocessors, totalBytes }) =>
      `${name} (compute capability ${capabilityText(computeCapability)}, ${multiprocessors} multiprocessors, ${formatBytes(totalBytes)})`,
  );
  const nvrtc = compiler === undefined ? "no NVRTC" : `NVRTC ${compiler.version} (${compiler.library})`;
  return {
    ok: true,
    detail: `${names.join(", ")}; ${formatBytes(freeBytes)} free on the first; driver for CUDA ${driver}; ${nvrtc}`,
    ...(compiler === undefined && {
      advice: "Without NVRTC, artifacts run whose build had nvcc (--target cuda --arch sm_90, …).",
    }),
  };
}

function examineNvcc(): Finding {
  const { stdout } = spawnSync("nvcc", ["--version"], { encoding: "utf8" });
  const release = /release ([\d.]+)/.exec(stdout ?? "")?.[1];
  return {
    name: "CUDA compiler",
    ok: release !== undefined,
    detail: release === undefined ? "no nvcc" : `nvcc ${release}: builds bring machine code for NVIDIA cards`,
    ...(release === undefined && {
      advice:
        "Artifacts built here for cuda bring sources alone, which NVRTC compiles where they are loaded.",
    }),
  };
}

/** Builds the addon for this machine. @throws BitloomError NO_DEVICE with what its compiler says */
function compileAddon(): void {
  const script = join(packageRoot(), "runtime/native/build.js");
  const { status, stderr } = spawnSync(process.execPath, [script], { encoding: "utf8" });
  if (status === 0) return;
  throw new BitloomError("NO_DEVICE", "The addon for NVIDIA cards was not built", {
    received: stderr.trim(),
    hint: "It takes cmake, a C++ compiler, and the npm packages cmake-js and node-addon-api.",
  });
}

async function examineGpu(): Promise<Omit<Finding, "name">> {
  const found = await findAdapter();
  const { adapter, vendor, architecture, isSoftware, subgroups, subgroupSizes, packedDot, limits } =
    found.features;
  const maker = [vendor, architecture].filter((part) => part !== "").join(" ");
  const sizes = subgroupSizes && ` of ${[...new Set([subgroupSizes.min, subgroupSizes.max])].join(" to ")}`;
  const features = [
    subgroups ? `subgroups${sizes ?? ""}` : "no subgroups",
    packedDot ? "packed 8-bit dot product" : "no packed 8-bit dot product",
    `buffers of ${formatBytes(limits.maxBufferSize)}`,
    `bindings of ${formatBytes(limits.maxStorageBufferBindingSize)}, ${limits.maxStorageBuffersPerShaderStage} a kernel`,
    `workgroups of ${limits.maxComputeInvocationsPerWorkgroup} with ${formatBytes(limits.maxComputeWorkgroupStorageSize)}`,
    await examineNumerics(found.adapter),
  ];
  return {
    ok: !isSoftware,
    detail: `${adapter}${maker && ` (${maker})`}${isSoftware ? ", played by the processor" : ""}: ${features.join(", ")}`,
    ...(isSoftware && { advice: "WebAssembly is faster than this. Install the GPU's driver." }),
  };
}

/** How the GPU computes. @throws BitloomError NO_DEVICE where it does not */
async function examineNumerics(adapter: GPUAdapter): Promise<string> {
  try {
    const device = await adapter.requestDevice();
    try {
      const { roundsToNearest, contracts, keepsSubnormals } = await probeNumerics(device);
      const told = (what: string, so: boolean) => `${what}: ${so ? "yes" : "no"}`;
      return [
        told("rounds to nearest even", roundsToNearest),
        told("contracts products", contracts),
        told("keeps subnormals", keepsSubnormals),
      ].join(", ");
    } finally {
      device.destroy();
    }
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", "The GPU computes nothing", {
      received: (cause as Error).message,
      hint: "Install the GPU's driver anew, or use the wasm device.",
      cause,
    });
  }
}
