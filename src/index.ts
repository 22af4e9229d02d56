export { BitloomError, type ErrorCode } from "../errors/index.ts";
export { type Checkpoint, openCheckpoint } from "./checkpoint/huggingface.ts";
export { safetensorsSource } from "./checkpoint/safetensors-source.ts";
export { type MemoryParameter, memorySource, type ParameterSource } from "./checkpoint/source.ts";
export type { CompileProgress } from "./compiler/artifact.ts";
export { compileCheckpoint } from "./compiler/checkpoint.ts";
export {
  type CompileOptions,
  type CompileReport,
  compile,
} from "./compiler/compile.ts";
export * from "./dsl/index.ts";
export * from "./quantize/index.ts";
export {
  type AdamWOptions,
  activationsFrom,
  adamW,
  type BuildTrainingOptions,
  type BuildTrainingReport,
  buildTraining,
  type CompileTrainingOptions,
  compileTraining,
  constantRate,
  cosineRate,
  type DecayShare,
  type DistillOptions,
  defineTraining,
  getCurrentLambda,
  getGlobalLambdaWarmup,
  type Lambda,
  type LambdaSchedule,
  type LambdaWarmupOptions,
  type LayerPlace,
  lambdaWarmup,
  linearRate,
  onMatrices,
  type ProgressiveLayersOptions,
  progressiveLayers,
  type QuantizationOptions,
  type SgdOptions,
  setGlobalLambdaWarmup,
  sgd,
  type Training,
  type TrainingOptions,
  type TrainingText,
  type TrainOptions,
  type TrainReport,
  train,
  twoStageDecay,
  twoStageRate,
} from "./train/index.ts";
