import * as z from "zod/mini";
import { BitloomError } from "../../errors/index.ts";
import type { Manifest } from "../manifest.ts";
import type { TrainingRecipe } from "./recipe.ts";

/** The file of an artifact that holds its training's recipe. */
export const RECIPE_FILE = "training.json";

/**
 * The file of an artifact that holds all parameters before training, f32, where the seed does not settle them or not all of
 * them are trained.
 */
export const FIRST_FILE = "first.safetensors";

const positive = z.int().check(z.minimum(1));

const recipeSchema = z.object({
  name: z.string(),
  vocabularySize: positive,
  endToken: z.nullable(z.int()),
  parameters: z.array(z.object({ path: z.string(), dims: z.array(positive), kind: z.string() })),
  config: z.nullable(z.record(z.string(), z.unknown())),
  steps: positive,
  batch: positive,
  sequence: positive,
  accumulation: positive,
  schedules: z.record(z.string(), z.array(z.number())),
  lambda: z.array(z.number().check(z.gte(0), z.lte(1))),
  seed: z.int(),
  heldOut: z.number().check(z.gt(0), z.lt(1)),
  evaluateEvery: positive,
  evaluateSequences: positive,
});

/**
 * Reads training.json and holds it against the artifact that it lies in.
 * @throws BitloomError INVALID_MANIFEST naming the field
 */
export function parseRecipe(text: string, manifest: Manifest): TrainingRecipe {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid("", "JSON", "something else", cause);
  }
  const parsed = recipeSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw invalid(`.${path.join(".")}`, "what `bitloom build` writes", message);
  }
  const recipe = parsed.data;
  const { parameters, steps, batch, sequence, accumulation, schedules, lambda } = recipe;
  const calls = ["gradients", ...(accumulation > 1 ? ["accumulate"] : [])];
  const mixed = lambda.some((value) => value < 1) ? calls.map((name) => `mixed_${name}`) : [];
  const names = [...calls, ...mixed, "update", "evaluate"];
  for (const name of names) {
    const entry = manifest.entries[name];
    if (entry === undefined) throw invalid("", `an artifact with the entry ${name}`, "one without");
    const { batch: sequences = batch, seq: tokens = sequence } = entry.symbols;
    if (batch > sequences) throw invalid(".batch", `at most ${sequences}`, `${batch}`);
    if (sequence > tokens) throw invalid(".sequence", `at most ${tokens}`, `${sequence}`);
  }
  for (const { path, dims } of parameters) {
    const state = manifest.states?.find(({ name }) => name === path);
    if (state?.dtype !== "f32" || String(state.dims) !== String(dims)) {
      throw invalid(
        `.parameters ${path}`,
        `a state f32[${dims}]`,
        state ? `${state.dtype}[${state.dims}]` : "none",
      );
    }
  }
  if (schedules.learning_rate === undefined) throw invalid(".schedules", "a learning_rate", "none");
  const bySteps = Object.entries(schedules).map(([name, values]) => [`schedules.${name}`, values] as const);
  for (const [name, { length }] of [...bySteps, ["lambda", lambda] as const]) {
    if (length !== steps) throw invalid(`.${name}`, `${steps} numbers, one a step`, `${length}`);
  }
  return recipe;
}

function invalid(field: string, expected: string, received: string, cause?: unknown): BitloomError {
  return new BitloomError("INVALID_MANIFEST", "The artifact's training is invalid", {
    location: `${RECIPE_FILE}${field}`,
    expected,
    received,
    ...(cause !== undefined && { cause }),
  });
}
