/** Training: losses, optimizers and the training step, all of them graphs. */
export { type AdamWOptions, adamW } from "./adamw.ts";
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
export { type TrainingGraphOptions, type TrainStepOptions, trainingGraph, trainStep } from "./train-step.ts";
