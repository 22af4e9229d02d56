/** Training: losses, optimizers and the training step as graphs, and what compiles them. */
export type { Evaluation, TrainedStep } from "../../runtime/training/index.ts";
export { type AdamWOptions, adamW } from "./adamw.ts";
export { type BuildTrainingOptions, type BuildTrainingReport, buildTraining } from "./build-training.ts";
export { type CompileTrainingOptions, compileTraining } from "./compile-training.ts";
export { type DistillationTerms, distilled } from "./distillation.ts";
export {
  activationsFrom,
  getCurrentLambda,
  getGlobalLambdaWarmup,
  type Lambda,
  type LambdaSchedule,
  type LambdaWarmupOptions,
  type LayerPlace,
  lambdaWarmup,
  type ProgressiveLayersOptions,
  progressiveLayers,
  setGlobalLambdaWarmup,
} from "./lambda.ts";
export {
  constantRate,
  cosineRate,
  type DecayOptions,
  type DecayShare,
  type LearningRate,
  linearRate,
  type TwoStageOptions,
  twoStageDecay,
  twoStageRate,
} from "./learning-rate.ts";
export {
  type CrossEntropyOptions,
  crossEntropyLoss,
  type DistillationOptions,
  distillationLoss,
  type SquaredErrorOptions,
  squaredErrorLoss,
} from "./loss.ts";
export type { Optimizer, TrainedParameter, UpdateContext, WeightDecay } from "./optimizer.ts";
export type { LambdaCourses, QuantizationOptions, TrainedQuantization } from "./quantization.ts";
export { type SgdOptions, sgd } from "./sgd.ts";
export { type TrainOptions, type TrainReport, train } from "./train.ts";
export {
  lossGraph,
  type TrainingEntries,
  type TrainingGraphOptions,
  type TrainStepOptions,
  trainingEntries,
  trainingGraph,
  trainStep,
} from "./train-step.ts";
export {
  type DistillOptions,
  defineTraining,
  onMatrices,
  type Training,
  type TrainingOptions,
  type TrainingText,
} from "./training.ts";
export type { OnTrainingWarning, TrainingWarning } from "./warning.ts";
