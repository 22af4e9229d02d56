/** The entry `bitloom/cuda`, for Node alone: the runtime loads it where CUDA is used, and no bundle for browsers has it. */
export type { CudaCard } from "./addon.ts";
export { type CudaDeviceOptions, createCudaDevice } from "./cuda-device.ts";
export { type CudaFeatures, cudaFeatures } from "./machine.ts";
