import { BitloomError } from "../errors/index.ts";
import { invalidOption } from "./options.ts";
import type { Random } from "./random.ts";

/**
 * How the next token is chosen. The steps apply in this order, each to what the one before left, as in
 * transformers: repetition penalty, temperature, top-k, top-p, min-p, then a draw.
 */
export interface SamplingOptions {
  /**
   * Logits are divided by it; 0 takes the most likely token (the lowest id of equals) after the penalty and
   * ignores the rest. Default 0.
   */
  readonly temperature?: number | undefined;
  /** Keep the k largest logits, and all that equal the k-th. Default: all. */
  readonly topK?: number | undefined;
  /**
   * Keep the fewest most likely tokens whose probabilities reach topP together (of equals the lower id is kept
   * first). In (0, 1]. Default 1: all.
   */
  readonly topP?: number | undefined;
  /** Drop tokens less likely than minP times the most likely one. In [0, 1]. Default 0: none. */
  readonly minP?: number | undefined;
  /**
   * Logits of tokens already in the prompt or the answer are divided by it where positive and multiplied where
   * negative. Default 1: unchanged.
   */
  readonly repetitionPenalty?: number | undefined;
  /** The same seed, prompt and options give the same tokens. Default: a random one. */
  readonly seed?: number | undefined;
}

export type SamplingSettings = Required<{ [K in Exclude<keyof SamplingOptions, "seed">]: number }>;

const rules: {
  [K in keyof SamplingSettings]: readonly [byDefault: number, expected: string, ok: (v: number) => boolean];
} = {
  temperature: [0, "a finite number of at least 0", (v) => v >= 0 && v < Infinity],
  topK: [Infinity, "a whole number of at least 1", (v) => v >= 1 && (Number.isInteger(v) || v === Infinity)],
  topP: [1, "a number above 0 and at most 1", (v) => v > 0 && v <= 1],
  minP: [0, "a number from 0 to 1", (v) => v >= 0 && v <= 1],
  repetitionPenalty: [1, "a finite number above 0", (v) => v > 0 && v < Infinity],
};

/** Fills in defaults. @throws BitloomError INVALID_OPTION naming the option */
export function samplingSettings(options: SamplingOptions): SamplingSettings {
  const settings = {} as Record<keyof SamplingSettings, number>;
  for (const name of Object.keys(rules) as (keyof SamplingSettings)[]) {
    const [byDefault, expected, ok] = rules[name];
    const value = options[name] ?? byDefault;
    if (typeof value !== "number" || !ok(value)) throw invalidOption(name, expected, value);
    settings[name] = value;
  }
  return settings;
}

/**
 * Chooses the next token.
 * @param logits f32[V]; changed in place
 * @param seen token ids of the prompt and the answer so far, for the repetition penalty
 * @returns a token id
 * @throws BitloomError INVALID_LOGITS when a logit is NaN or +Infinity, or none is finite
 */
export function sample(
  logits: Float32Array,
  seen: Iterable<number>,
  settings: SamplingSettings,
  random: Random,
): number {
  const { repetitionPenalty } = settings;
  if (repetitionPenalty !== 1) {
    for (const token of new Set(seen)) logits[token] = penalized(logits[token]!, repetitionPenalty);
  }
  return choose(logits, (index) => index, settings, random);
}

/** The largest logits in descending order, the lower id first of equals, and their tokens. */
export interface Candidates {
  readonly logits: Float32Array;
  readonly tokens: Int32Array;
}

/**
 * What the next token is chosen from: the largest logit, so many of the largest, which nearly always are enough, or
 * all of them.
 */
export function sampledFrom(settings: SamplingSettings, candidates: number): "best" | "top" | "logits" {
  const { temperature, topK, topP, minP, repetitionPenalty } = settings;
  if (temperature === 0 && repetitionPenalty === 1) return "best";
  const areFew = temperature === 0 || topK < candidates || (topP === 1 && minP > 0);
  return areFew && repetitionPenalty >= 1 ? "top" : "logits";
}

/**
 * Chooses what `sample` chooses from all logits.
 * @param candidates all tokens of the vocabulary, or those with the largest logits
 * @returns a token id; undefined, with nothing drawn, if a token beyond the candidates might be chosen
 * @throws BitloomError INVALID_LOGITS as `sample`
 */
export function sampleCandidates(
  candidates: Candidates,
  vocabularySize: number,
  seen: ReadonlySet<number>,
  settings: SamplingSettings,
  random: Random,
): number | undefined {
  const { temperature, repetitionPenalty } = settings;
  // The order that sums are made in is that of the ids.
  const order = candidates.tokens
    .map((_, index) => index)
    .sort((a, b) => candidates.tokens[a]! - candidates.tokens[b]!);
  const tokenAt = (index: number) => candidates.tokens[order[index]!]!;
  const logits = Float32Array.from(order, (index) => {
    const logit = candidates.logits[index]!;
    return seen.has(candidates.tokens[index]!) ? penalized(logit, repetitionPenalty) : logit;
  });
  const isFirst = temperature === 0 && repetitionPenalty === 1;
  const isWhole = candidates.tokens.length === vocabularySize;
  if (!isFirst && !isWhole && !areEnough(logits, candidates.logits.at(-1)!, settings)) return undefined;
  return choose(logits, tokenAt, settings, random);
}

/** Whether no token with a logit of at most `beyond`, before a penalty, can be chosen. */
function areEnough(logits: Float32Array, beyond: number, settings: SamplingSettings): boolean {
  const { temperature, topK, topP, minP, repetitionPenalty } = settings;
  // What raises logits may raise any.
  if (repetitionPenalty < 1) return false;
  const kept = temperature === 0 ? 1 : topK;
  if (kept <= logits.length && kthLargest(logits, kept) > beyond) return true;
  const top = logits[argmax(logits)]!;
  return temperature > 0 && topP === 1 && Math.exp((beyond - top) / temperature) < minP;
}

function penalized(logit: number, penalty: number): number {
  return logit < 0 ? logit * penalty : logit / penalty;
}

/** Chooses from the logits, penalized, of tokens in the order of their ids. */
function choose(
  logits: Float32Array,
  tokenAt: (index: number) => number,
  { temperature, topK, topP, minP }: SamplingSettings,
  random: Random,
): number {
  assertUsable(logits, tokenAt);
  const best = argmax(logits);
  if (temperature === 0) return tokenAt(best);

  // Weights are relative to the most likely token: exp never overflows, and that token's weight is 1.
  const top = logits[best]!;
  let kept = topK < logits.length ? atLeast(logits, kthLargest(logits, topK)) : allIndices(logits);
  let weights = new Float64Array(kept.length);
  for (let i = 0; i < kept.length; i++) weights[i] = Math.exp((logits[kept[i]!]! - top) / temperature);
  if (topP < 1) ({ kept, weights } = nucleus(kept, weights, topP));

  let total = 0;
  for (let i = 0; i < kept.length; i++) if (weights[i]! >= minP) total += weights[i]!;
  let target = random.uniform() * total;
  let last = best;
  for (let i = 0; i < kept.length; i++) {
    if (weights[i]! < minP || weights[i] === 0) continue;
    last = kept[i]!;
    target -= weights[i]!;
    if (target < 0) break;
  }
  return tokenAt(last);
}

function assertUsable(logits: Float32Array, tokenAt: (index: number) => number): void {
  let largest = -Infinity;
  for (let index = 0; index < logits.length; index++) {
    const logit = logits[index]!;
    // Written so that NaN fails too.
    if (!(logit < Infinity)) {
      throw new BitloomError("INVALID_LOGITS", "The model's logits are not numbers", {
        expected: "finite logits",
        received: `${logit} for token ${tokenAt(index)}`,
      });
    }
    if (logit > largest) largest = logit;
  }
  if (largest === -Infinity) {
    throw new BitloomError("INVALID_LOGITS", "The model allows no token", {
      received: "-Infinity for every token",
    });
  }
}

/** The index of the largest value, the first of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The k-th largest value, counting equals: a heap of the k largest, smallest on top. */
function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k).sort();
  for (let i = k; i < values.length; i++) {
    const value = values[i]!;
    if (value <= heap[0]!) continue;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= k) break;
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[hole] = heap[child]!;
      hole = child;
    }
    heap[hole] = value;
  }
  return heap[0]!;
}

function atLeast(logits: Float32Array, threshold: number): Uint32Array {
  const kept: number[] = [];
  for (let index = 0; index < logits.length; index++) if (logits[index]! >= threshold) kept.push(index);
  return Uint32Array.from(kept);
}

function allIndices(logits: Float32Array): Uint32Array {
  const indices = new Uint32Array(logits.length);
  for (let index = 0; index < indices.length; index++) indices[index] = index;
  return indices;
}

/** The fewest tokens, most likely first, whose share of all weights reaches `topP`; always at least one. */
function nucleus(
  tokens: Uint32Array,
  weights: Float64Array,
  topP: number,
): { kept: Uint32Array; weights: Float64Array<ArrayBuffer> } {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i]!;
  // All tokens lighter than this weigh less than what may be left out, so that few are left to sort.
  const negligible = ((1 - topP) * total) / weights.length / 2;
  const candidates = new Float64Array(weights.length);
  let count = 0;
  for (let i = 0; i < weights.length; i++) if (weights[i]! > negligible) candidates[count++] = weights[i]!;
  const ascending = candidates.subarray(0, count).sort();
  let reached = 0;
  let first = ascending.length;
  while (first > 0 && reached < topP * total) reached += ascending[--first]!;
  const lightest = ascending[first]!;
  // Of those as light as the lightest that is kept, the lower ids stay.
  let equals = ascending.subarray(first).lastIndexOf(lightest) + 1;

  const kept = new Uint32Array(ascending.length - first);
  const keptWeights = new Float64Array(kept.length);
  let next = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i]! > lightest || (weights[i] === lightest && equals-- > 0)) {
      kept[next] = tokens[i]!;
      keptWeights[next++] = weights[i]!;
    }
  }
  return { kept, weights: keptWeights };
}
