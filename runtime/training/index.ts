/** The trainer without a platform: what a browser needs beside the runtime to run a compiled training. */
export { byteTokenizerFiles } from "./byte-tokenizer.ts";
export { CompiledTraining, loadTraining } from "./compiled-training.ts";
export { type FilePieces, modelFiles, type Tensors } from "./model-files.ts";
export type { PredictOptions } from "./predict.ts";
export { type TrainedTensor, type TrainingRecipe, withSteps } from "./recipe.ts";
export { splitText, type TextWindows, tokenize } from "./text.ts";
export {
  type Evaluation,
  firstParameters,
  readStates,
  type TrainedStep,
  Trainer,
  type TrainerOptions,
  type TrainingProgress,
  writeStates,
} from "./trainer.ts";
export { type TokenBatch, Windows } from "./windows.ts";
