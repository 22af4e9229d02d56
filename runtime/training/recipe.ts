import { invalidOption } from "../options.ts";

/** A parameter that is trained; what it is settles its first value. */
export interface TrainedTensor {
  readonly path: string;
  readonly dims: readonly number[];
  /** `norm`, `bias`, or any other kind of layer parameter. */
  readonly kind: string;
}

/**
 * What a run of training is beside the compiled step and the text: data alone, so that an artifact can hold it and a
 * browser go by it.
 */
export interface TrainingRecipe {
  readonly name: string;
  readonly vocabularySize: number;
  /** Ends a text that a tokenizer made tokens of, where the model has such a token. */
  readonly endToken: number | null;
  /** States of the step, in the order in which they are initialized. */
  readonly parameters: readonly TrainedTensor[];
  /** The trained model's config.json; `null` for a model of no family. */
  readonly config: Readonly<Record<string, unknown>> | null;
  /** Updates of the parameters. */
  readonly steps: number;
  /** Sequences of one call. */
  readonly batch: number;
  /** Tokens of one sequence. */
  readonly sequence: number;
  /** Calls whose gradients are averaged to one step. */
  readonly accumulation: number;
  /** Scalar inputs by name, such as `learning_rate`: a value for each step, given to every entry that has the input. */
  readonly schedules: Readonly<Record<string, readonly number[]>>;
  /**
   * How much of quantization there is in each step, 0..1, the mean over what is quantized. Steps below 1 are computed by
   * `mixed_gradients` and `mixed_accumulate`.
   */
  readonly lambda: readonly number[];
  /** Settles the first weights and the order of the data. */
  readonly seed: number;
  /** Share of the text, its end, that is not trained on. */
  readonly heldOut: number;
  /** Steps between evaluations on held-out text. */
  readonly evaluateEvery: number;
  /** Most sequences of an evaluation. */
  readonly evaluateSequences: number;
}

/**
 * A recipe for another number of steps: schedules are stretched to it, where each step has the value of the step that was
 * nearest to its place in the run, so that jumps stay jumps; and there are as many evaluations as before. The same number
 * gives the same recipe.
 */
export function withSteps(recipe: TrainingRecipe, steps: number): TrainingRecipe {
  if (!Number.isSafeInteger(steps) || steps < 1)
    throw invalidOption("steps", "an integer of at least 1", steps);
  if (steps === recipe.steps) return recipe;
  const schedules = Object.entries(recipe.schedules).map(([name, values]) => [
    name,
    stretched(values, steps),
  ]);
  return {
    ...recipe,
    steps,
    schedules: Object.fromEntries(schedules),
    lambda: stretched(recipe.lambda, steps),
    evaluateEvery: Math.ceil((recipe.evaluateEvery * steps) / recipe.steps),
  };
}

/** So many of the values, each once, repeatedly or not at all, with the same first and last. */
function stretched(values: readonly number[], length: number): readonly number[] {
  const scale = (values.length - 1) / Math.max(1, length - 1);
  return Array.from({ length }, (_, i) => values[Math.round(i * scale)]!);
}
