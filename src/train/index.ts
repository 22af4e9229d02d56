/** Training: losses, optimizers and the training step as graphs, and what compiles them. */
export { type AdamWOptions, adamW } from "./adamw.ts";
export { type CompileTrainingOptions, compileTraining } from "./compile-training.ts";
export {
  type CrossEntropyOptions,
  crossEntropyLoss,
  type DistillationOptions,
  distillationLoss,
  type SquaredErrorOptions,
  squaredErrorLoss,
} from "./loss.ts";
export type { Optimizer, TrainedParameter, UpdateContext, WeightDecay } from "./optimizer.ts";
export { type SgdOptions, sgd } from "./sgd.ts";
export {
  lossGraph,
  type TrainingEntries,
  type TrainingGraphOptions,
  type TrainStepOptions,
  trainingEntries,
  trainingGraph,
  trainStep,
} from "./train-step.ts";
