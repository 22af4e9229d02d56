export { BitloomError, type BitloomErrorOptions, type ErrorCode } from "../errors/index.ts";
export type { DeviceCounters, Numerics } from "./devices/device.ts";
export { type WasmFeatures, wasmFeatures } from "./devices/wasm/features.ts";
export { type WebgpuFeatures, webgpuFeatures } from "./devices/webgpu/adapter.ts";
export type { DType, TypedArray, TypedArrayOf } from "./dtypes.ts";
export type { ProgressEvent, Warning } from "./events.ts";
export {
  type GeneratedToken,
  type GenerateOptions,
  Generation,
  type GenerationResult,
  type Prompt,
  type Timings,
} from "./generate.ts";
export { type CallOptions, LanguageModel } from "./language-model.ts";
export { type LoadOptions, load, loadLanguageModel } from "./load.ts";
export type { LanguageModel as LanguageModelInfo, Manifest } from "./manifest.ts";
export { Model } from "./model.ts";
export { checkManifest, parseManifest } from "./parse-manifest.ts";
export type { SamplingOptions } from "./sampling.ts";
export type { TensorInputs, TensorOutputs } from "./session.ts";
export type { ArtifactLocation, ArtifactSource, DirectoryHandle, OpenFile } from "./source.ts";
export type { Tensor, TensorInput } from "./tensors.ts";
export { type Message, Tokenizer, type TokenizerFiles } from "./tokenizer.ts";
