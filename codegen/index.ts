/** Kernel language, kernel IR and targets: what turns kernels into files a device runs. */
export * as build from "./kernel/build.ts";
export {
  loadTemplate,
  type OptionValue,
  parseTemplate,
  type Specialization,
  specialize,
  type Template,
} from "./kernel/frontend.ts";
export { type Intrinsic, intrinsics } from "./kernel/intrinsic-table.ts";
export type {
  Access,
  BufferParameter,
  Expr,
  InlineFunction,
  KernelFunction,
  NumericType,
  Parameter,
  ScalarParameter,
  SharedArray,
  Stmt,
  StorageType,
  ValueType,
} from "./kernel/ir.ts";
export { templatePath } from "./kernel/template-path.ts";
export { type CudaParameter, type CudaSource, renderCuda } from "./targets/cuda/render.ts";
export { assemble } from "./targets/wasm/assemble.ts";
export { CONTROL_BYTES, MAX_THREADS } from "./targets/wasm/control.ts";
export { renderFunctions, renderKernelModule } from "./targets/wasm/functions.ts";
export { renderModule, type WasmModuleSource } from "./targets/wasm/module.ts";
export { renderFunction } from "./targets/wasm/render.ts";
export {
  renderWgsl,
  type WgslBinding,
  type WgslLimits,
  type WgslModule,
  type WgslOptions,
  type WgslUniform,
} from "./targets/wgsl/render.ts";
