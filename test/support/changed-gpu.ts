/** A GPU changed as a test wants it. It imports nothing, so that it also works in a page. */

/** What reads `changes` first and then `object`, whose methods are called on `object` itself. */
export function changed<T extends object>(object: T, changes: object): T {
  return new Proxy(object, {
    get(target, key) {
      if (key in changes) return changes[key as never];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export interface GpuChange {
  readonly limits?: Partial<GPUSupportedLimits>;
  readonly info?: Partial<GPUAdapterInfo>;
  /** All the adapter's features. */
  readonly features?: readonly string[];
  /** Told of each device that is opened. */
  readonly device?: (device: GPUDevice) => void;
}

/** `gpu` with other adapters. */
export function changedGpu(gpu: GPU, { limits = {}, info = {}, features, device }: GpuChange): GPU {
  return changed(gpu, {
    requestAdapter: async (options: GPURequestAdapterOptions) => {
      const adapter = (await gpu.requestAdapter(options))!;
      return changed(adapter, {
        limits: changed(adapter.limits, limits),
        info: changed(adapter.info, info),
        features: features ? new Set(features) : adapter.features,
        requestDevice: async (wanted: GPUDeviceDescriptor) => {
          const opened = await adapter.requestDevice(wanted);
          device?.(opened);
          return opened;
        },
      });
    },
  });
}

/** That a software GPU passes for a real one. */
export const real: GpuChange = {
  info: { isFallbackAdapter: false, description: "Real", vendor: "", architecture: "", device: "" },
};
