import type { TrainingRecipe } from "../../runtime/training/recipe.ts";
import type { DecayShare, LearningRate } from "./learning-rate.ts";
import type { TrainingStart } from "./start.ts";
import type { Training } from "./training.ts";

/** A training as data: functions become their values in each step. */
export function recipeOf(training: Training, start: TrainingStart): TrainingRecipe {
  const { model, trained, config } = start;
  const { lambdas } = start.quantization;
  const { steps, learningRate, decayShare } = training;
  const byStep = (schedule: LearningRate | DecayShare) =>
    Array.from({ length: steps }, (_, step) => schedule(step, steps));
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
      learning_rate: byStep(learningRate),
      ...(decayShare && { decay_share: byStep(decayShare) }),
      ...lambdas?.inputs,
    },
    lambda: lambdas?.mean ?? byStep(() => 1),
    seed,
    heldOut,
    evaluateEvery,
    evaluateSequences,
  };
}
