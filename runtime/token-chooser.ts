import type { CachedSequence } from "./cached-sequence.ts";
import type { LanguageModel } from "./manifest.ts";
import { Random } from "./random.ts";
import { type SamplingSettings, sample, sampleCandidates, sampledFrom } from "./sampling.ts";

/** Chooses the tokens of an answer one after another, and reads no more logits than that takes. */
export class TokenChooser {
  readonly #info: LanguageModel;
  readonly #sequence: CachedSequence;
  readonly #settings: SamplingSettings;
  readonly #random: Random;
  readonly #seen: Set<number>;

  constructor(
    { info, sequence }: { readonly info: LanguageModel; readonly sequence: CachedSequence },
    prompt: readonly number[],
    settings: SamplingSettings,
    seed: number,
  ) {
    this.#info = info;
    this.#sequence = sequence;
    this.#settings = settings;
    this.#random = Random.fromSeed(seed);
    this.#seen = new Set(prompt);
  }

  /** The first token, from the logits after the prompt. @throws BitloomError INVALID_LOGITS */
  first(logits: Float32Array): number {
    return this.#note(this.#sample(logits.slice()));
  }

  /**
   * The token after `token`, which is added to the sequence.
   * @throws BitloomError INVALID_LOGITS, and as the sequence does
   */
  async after(token: number, signal: AbortSignal | undefined): Promise<number> {
    const { vocabularySize, candidates } = this.#info;
    const source = sampledFrom(this.#settings, candidates);
    if (source === "logits") return this.#note(this.#sample(await this.#sequence.append(token, signal)));
    const few = await this.#sequence.appendForCandidates(token, source, signal);
    const chosen = sampleCandidates(few, vocabularySize, this.#seen, this.#settings, this.#random);
    return this.#note(chosen ?? this.#sample(await this.#sequence.logits()));
  }

  /** Changes the logits in place. */
  #sample(logits: Float32Array): number {
    return sample(logits, this.#seen, this.#settings, this.#random);
  }

  #note(token: number): number {
    this.#seen.add(token);
    return token;
  }
}
