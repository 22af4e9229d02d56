import { BitloomError } from "../../errors/index.ts";
import { throwIfAborted, yieldToEvents } from "../abort.ts";
import type { Model } from "../model.ts";
import { Random } from "../random.ts";
import { type SamplingOptions, sample, samplingSettings } from "../sampling.ts";
import type { TrainingRecipe } from "./recipe.ts";

export interface PredictOptions extends SamplingOptions {
  /** Most tokens to choose. Default 128. */
  readonly maxTokens?: number;
  /** Ends it between two tokens. */
  readonly signal?: AbortSignal;
}

/**
 * Continues tokens with the weights as they are, until the recipe's end token. No caches: each token is computed from
 * the last ones, as many as a sequence of the training has.
 * @param tokens i32, at least one
 * @throws BitloomError INVALID_OPTION, INVALID_INPUT, INVALID_LOGITS, ABORTED, and as `Model.call`
 */
export async function* predictTokens(
  model: Model,
  { sequence, endToken }: Pick<TrainingRecipe, "sequence" | "endToken">,
  tokens: readonly number[],
  { maxTokens = 128, signal, seed = 0, ...sampling }: PredictOptions = {},
): AsyncGenerator<number, void, void> {
  if (tokens.length === 0) {
    throw new BitloomError("INVALID_INPUT", "There is nothing to continue", {
      expected: "a prompt of at least one token",
      hint: "Begin with a letter or a word.",
    });
  }
  const settings = samplingSettings(sampling);
  const random = Random.fromSeed(seed);
  const text = [...tokens];
  for (let count = 0; count < maxTokens; count++) {
    throwIfAborted(signal);
    const window = Int32Array.from(text.slice(-sequence));
    const { logits } = await model.call("predict", { tokens: { data: window, dims: [1, window.length] } });
    const token = sample(logits!.data as Float32Array, text, settings, random);
    if (token === endToken) return;
    text.push(token);
    await yieldToEvents();
    yield token;
  }
}
