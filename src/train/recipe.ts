import type { TrainingRecipe } from "../../runtime/training/recipe.ts";
import type { TrainingStart } from "./start.ts";
import type { Training } from "./training.ts";

/** A training as data: functions become their values in each step. */
export function recipeOf(training: Training, start: TrainingStart): TrainingRecipe {
  const { model, trained, config } = start;
  const { lambdas } = start.quantization;
  const { steps, learningRate } = training;
  const { batch, sequence, accumulation, seed, heldOut, evaluateEvery, evaluateSequences } = training;
  return {
    name: model.name,
    vocabularySize: model.vocabularySize,
    endToken: model.eosTokens[0] ?? null,
    parameters: trained,
    config,
    steps,
    batch,
    sequence,
    accumulation,
    schedules: {
      learning_rate: Array.from({ length: steps }, (_, step) => learningRate(step, steps)),
      ...lambdas?.inputs,
    },
    lambda: lambdas?.mean ?? Array.from({ length: steps }, () => 1),
    seed,
    heldOut,
    evaluateEvery,
    evaluateSequences,
  };
}
