import { BitloomError } from "../../errors/index.ts";
import type { TrainingRecipe } from "../../runtime/training/recipe.ts";
import { invalidOption } from "../dsl/options.ts";
import { type DecayShare, type LearningRate, STEPS_COUNT } from "./learning-rate.ts";
import type { TrainingStart } from "./start.ts";
import type { Training } from "./training.ts";

/**
 * A training as data: functions become their values in each step.
 * @throws BitloomError INVALID_OPTION for a rate or a decay's share that is no finite f32 of at least 0, or that throws, naming
 *   the step
 */
export function recipeOf(training: Training, start: TrainingStart): TrainingRecipe {
  const { model, trained, config } = start;
  const { lambdas } = start.quantization;
  const { steps, learningRate, decayShare } = training;
  const byStep = (option: string, schedule: LearningRate | DecayShare) =>
    Array.from({ length: steps }, (_, step) => valueIn(option, schedule, step, steps));
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
      learning_rate: byStep("learningRate", learningRate),
      ...(decayShare && { decay_share: byStep("decayShare", decayShare) }),
      ...lambdas?.inputs,
    },
    lambda: lambdas?.mean ?? Array.from({ length: steps }, () => 1),
    seed,
    heldOut,
    evaluateEvery,
    evaluateSequences,
  };
}

function valueIn(option: string, schedule: LearningRate | DecayShare, step: number, steps: number): number {
  const named = `${option} in step ${step + 1}`;
  let value: number;
  try {
    value = schedule(step, steps);
  } catch (cause) {
    const options = { expected: "a number", received: String(cause), hint: STEPS_COUNT, cause };
    throw new BitloomError("INVALID_OPTION", `${named} throws`, options);
  }
  if (typeof value === "number" && value >= 0 && Number.isFinite(Math.fround(value))) return value;
  throw invalidOption(named, "a finite number of at least 0, as f32 has it", value, STEPS_COUNT);
}
