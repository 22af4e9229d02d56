/**
 * Replays recorded calls of WebGPU programs on the runtime's own device. The same code runs here, on Dawn, and, bundled,
 * in a page of a browser.
 */
import type { ByteRange } from "../../runtime/devices/device.ts";
import { createWebgpuDevice } from "../../runtime/devices/webgpu/webgpu-device.ts";
import type { Manifest, WebgpuVariant } from "../../runtime/manifest.ts";
import { changed } from "./changed-gpu.ts";
import { remembered } from "./remembered.ts";

export type WebgpuFeature = WebgpuVariant["requires"][number];

/** One call of an entry as plain data. */
export interface WebgpuRecording {
  readonly manifest: Manifest;
  /** The WGSL of the target's kernels, by path. */
  readonly sources: Readonly<Record<string, string>>;
  /** Kernels may need no more than these. */
  readonly features: readonly WebgpuFeature[];
  readonly entry: string;
  readonly symbols: Readonly<Record<string, number>>;
  /** What lies in these regions at first, whole. */
  readonly image: Readonly<Record<"io" | "state" | "weights", Uint8Array>>;
  /** Where in `io` results lie in the end. */
  readonly outputs: readonly (ByteRange & { readonly name: string })[];
}

export interface WebgpuReplay {
  /** The bytes of each output. */
  readonly outputs: readonly Uint8Array[];
  /** The region `state` after the call. */
  readonly state: Uint8Array;
}

export interface WebgpuReplayer {
  /** What this GPU has of that which variants need. */
  readonly features: readonly WebgpuFeature[];
  replay(recording: WebgpuRecording): Promise<WebgpuReplay>;
}

const MAP_MODE_READ = 0x1;
const MAP_READ_AND_COPY_DST = 0x9;
/** What is read before it is written is not a number. */
const JUNK = 0xff;

/**
 * Opens a GPU device that all replays share: nothing is kept from one to the next but pipelines.
 * @throws what is missing where there is no adapter
 */
export async function openReplayer(gpu: GPU): Promise<WebgpuReplayer> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("this machine has no GPU adapter");
  const hasSubgroups = adapter.features.has("subgroups");
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: hasSubgroups ? ["subgroups"] : [],
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const states: GPUBuffer[] = [];
  const shared = changed(device, {
    ...remembered(device),
    createBuffer: (descriptor: GPUBufferDescriptor) => {
      const buffer = device.createBuffer(descriptor);
      if (descriptor.label === "state") states.push(buffer);
      return buffer;
    },
    destroy: () => undefined,
  });
  const packedDot = "packed_4x8_integer_dot_product";
  return {
    features: [
      ...(hasSubgroups ? (["subgroups"] as const) : []),
      ...(gpu.wgslLanguageFeatures.has(packedDot) ? (["packedDot"] as const) : []),
    ],
    async replay({ manifest, sources, features, entry, symbols, image, outputs }) {
      offer(
        changed(gpu, {
          wgslLanguageFeatures: new Set(features.includes("packedDot") ? [packedDot] : []),
          requestAdapter: async () =>
            changed(adapter, {
              features: new Set(features.includes("subgroups") ? ["subgroups"] : []),
              requestDevice: async () => shared,
            }),
        }),
      );
      states.length = 0;
      const readFile = async (path: string) => new TextEncoder().encode(sources[path]);
      const opened = await createWebgpuDevice(manifest, { allowSoftware: true, readFile });
      try {
        const { arena, buffers } = manifest.targets.webgpu!;
        const memory = { ...image, arena: new Uint8Array(arena).fill(JUNK) };
        for (const region of ["io", "arena", "state", "weights"] as const) {
          await opened.write(region, 0, memory[region]);
        }
        const names = outputs.map(({ name }) => name);
        const received = await opened.run(entry, new Map(Object.entries(symbols)), names, outputs);
        const state = new Uint8Array(image.state.length);
        for (const [i, buffer] of states.entries()) {
          const start = buffers.state[i]!;
          state.set((await contents(device, buffer)).subarray(0, state.length - start), start);
        }
        return { outputs: received, state };
      } finally {
        await opened.dispose();
      }
    },
  };
}

/** Makes a GPU what the runtime finds. */
function offer(gpu: GPU): void {
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true, writable: true });
}

async function contents(device: GPUDevice, buffer: GPUBuffer): Promise<Uint8Array> {
  const { size } = buffer;
  const staging = device.createBuffer({ size, usage: MAP_READ_AND_COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(MAP_MODE_READ);
  const bytes = new Uint8Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return bytes;
}
