import { BitloomError } from "../../../errors/index.ts";
import { isNode } from "../../node.ts";

/** What a machine's GPU is and can, as far as artifacts ask. */
export interface WebgpuFeatures {
  /** The GPU's name, as much as the driver tells. */
  readonly adapter: string;
  /** `nvidia`, and `ampere`: empty where browsers keep it to themselves. */
  readonly vendor: string;
  readonly architecture: string;
  /** The processor plays the GPU: right, but far slower than the WebAssembly target. */
  readonly isSoftware: boolean;
  /** Has subgroup operations. */
  readonly subgroups: boolean;
  /** Fewest and most invocations of a subgroup; undefined where the adapter does not tell. */
  readonly subgroupSizes?: { readonly min: number; readonly max: number } | undefined;
  /** Has the packed 8-bit dot product. */
  readonly packedDot: boolean;
  readonly limits: {
    readonly maxBufferSize: number;
    readonly maxStorageBufferBindingSize: number;
    readonly maxStorageBuffersPerShaderStage: number;
    readonly maxComputeWorkgroupStorageSize: number;
    readonly maxComputeInvocationsPerWorkgroup: number;
  };
}

export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly features: WebgpuFeatures;
}

/**
 * What this machine's GPU is and can.
 * @throws BitloomError NO_DEVICE that says what is missing
 */
export async function webgpuFeatures(): Promise<WebgpuFeatures> {
  return (await findAdapter()).features;
}

/** The adapter a browser, or the npm package `webgpu`, offers. @throws BitloomError NO_DEVICE */
export async function findAdapter(): Promise<FoundAdapter> {
  const gpu = await openGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    throw new BitloomError("NO_DEVICE", "This machine offers no GPU to WebGPU", {
      hint: isNode
        ? "Install the GPU's driver (on Linux with Vulkan), or use the wasm device."
        : "Turn on hardware acceleration in the browser, or use the wasm device.",
    });
  }
  const {
    vendor,
    architecture,
    device,
    description,
    subgroupMinSize: min,
    subgroupMaxSize: max,
  } = adapter.info;
  const names = [vendor, architecture, device, description].filter((name) => name !== "");
  const isSoftware =
    isMarkedFallback(adapter) ||
    names.some((name) => /swiftshader|llvmpipe|lavapipe|basic render/i.test(name));
  const {
    maxBufferSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup,
  } = adapter.limits;
  return {
    adapter,
    features: {
      adapter: description !== "" ? description : names.join(" ") || "a GPU that does not tell its name",
      vendor,
      architecture,
      isSoftware,
      subgroupSizes: min > 0 && max > 0 ? { min, max } : undefined,
      subgroups: adapter.features.has("subgroups"),
      packedDot: gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product"),
      limits: {
        maxBufferSize,
        maxStorageBufferBindingSize,
        maxStorageBuffersPerShaderStage,
        maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup,
      },
    },
  };
}

/** The flag moved from the adapter to its info. */
function isMarkedFallback(adapter: GPUAdapter): boolean {
  const { info } = adapter as { info: { isFallbackAdapter?: boolean } };
  return info.isFallbackAdapter ?? (adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter ?? false;
}

interface Dawn {
  create(flags: string[]): GPU;
}

/** Kept for as long as the process runs: the devices of a GPU object die with it. */
let nodeGpu: GPU | undefined;

async function openGpu(): Promise<GPU> {
  const { gpu } = (globalThis.navigator ?? {}) as { gpu?: GPU };
  if (gpu !== undefined) return gpu;
  if (nodeGpu !== undefined) return nodeGpu;
  if (!isNode) {
    throw new BitloomError("NO_DEVICE", "This browser has no WebGPU here", {
      hint: "WebGPU needs a recent browser and a page served over https or from localhost.",
    });
  }
  // Not a literal, which bundlers for browsers would look for.
  const name = "webgpu";
  let dawn: Dawn;
  try {
    dawn = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as Dawn;
  } catch (cause) {
    throw new BitloomError("NO_DEVICE", "Node has WebGPU only through the npm package webgpu", {
      received: (cause as Error).message,
      hint: "Install it beside bitloom: npm install webgpu",
      cause,
    });
  }
  nodeGpu = dawn.create([]);
  return nodeGpu;
}
