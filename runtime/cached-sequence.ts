import { BitloomError } from "../errors/index.ts";
import { throwIfAborted, yieldToEvents } from "./abort.ts";
import type { LanguageModel } from "./manifest.ts";
import type { Candidates } from "./sampling.ts";
import type { Session, TensorOutputs, WantedOutputs } from "./session.ts";

/** Where the sequence lives in the cache; more than one at a time is for a server to schedule. */
const SLOT = 0;

/** One token sequence whose keys and values the device holds. The caller holds the session. */
export class CachedSequence {
  readonly #session: Session;
  readonly #info: LanguageModel;
  #tokens: number[] = [];

  constructor(session: Session, info: LanguageModel) {
    this.#session = session;
    this.#info = info;
  }

  /** Tokens whose keys and values are cached. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Forgets every token. */
  clear(): void {
    this.#tokens = [];
  }

  /**
   * Makes the sequence equal `tokens` and computes the logits after the last of them. What the cache already
   * holds of their beginning is kept; the rest runs in chunks, between which other events happen.
   * @returns f32[V]
   * @throws BitloomError INVALID_INPUT (no tokens), TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, ABORTED: the chunks
   *   computed until then stay cached
   */
  async replace(tokens: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    this.#check(tokens, 0);
    let common = 0;
    // The last token always runs: its logits are what is asked for.
    const most = Math.min(this.#tokens.length, tokens.length - 1);
    while (common < most && this.#tokens[common] === tokens[common]) common++;
    this.#tokens.length = common;
    return logitsOf(await this.#extend(tokens.slice(common), { read: ["logits"] }, signal));
  }

  /** Adds a token and computes the logits after it, f32[V]. Errors as `replace`. */
  async append(token: number, signal?: AbortSignal): Promise<Float32Array> {
    this.#check([token], this.#tokens.length);
    return logitsOf(await this.#extend([token], { read: ["logits"] }, signal));
  }

  /**
   * Adds a token and computes the logits after it, of which only the largest are read; `logits` reads them all.
   * @param which the largest alone, or as many as the model gives
   * @throws BitloomError as `replace`
   */
  async appendForCandidates(token: number, which: "best" | "top", signal?: AbortSignal): Promise<Candidates> {
    this.#check([token], this.#tokens.length);
    const [logits, tokens] = which === "best" ? ["bestLogit", "bestToken"] : ["topLogits", "topTokens"];
    const outputs = await this.#extend([token], { read: [logits, tokens], computed: ["logits"] }, signal);
    return { logits: outputs[logits]!.data as Float32Array, tokens: outputs[tokens]!.data as Int32Array };
  }

  /** The logits after the last token, f32[V]; the last call must have computed them. */
  async logits(): Promise<Float32Array> {
    return logitsOf(await this.#session.read(["logits"]));
  }

  async #extend(
    tokens: readonly number[],
    wanted: WantedOutputs,
    signal: AbortSignal | undefined,
  ): Promise<TensorOutputs> {
    for (let start = 0; ; ) {
      throwIfAborted(signal);
      const chunk = tokens.slice(start, start + this.#info.chunkLength);
      const isLast = start + chunk.length === tokens.length;
      const inputs = {
        tokens: { data: Int32Array.from(chunk), dims: [1, chunk.length] },
        positions: Int32Array.of(this.#tokens.length),
        slots: Int32Array.of(SLOT),
      };
      const entry = chunk.length === 1 ? "decode" : "prefill";
      const outputs = await this.#session.execute(entry, inputs, isLast ? wanted : { read: [] });
      this.#tokens.push(...chunk);
      start += chunk.length;
      if (isLast) return outputs;
      await yieldToEvents();
    }
  }

  #check(tokens: readonly number[], cached: number): void {
    const { vocabularySize, contextLength } = this.#info;
    if (tokens.length === 0) {
      throw new BitloomError("INVALID_INPUT", "The prompt is empty", { expected: "at least one token" });
    }
    assertTokens(tokens, vocabularySize);
    if (cached + tokens.length > contextLength) {
      throw new BitloomError("CONTEXT_OVERFLOW", "The tokens do not fit into the context", {
        expected: `at most ${contextLength} tokens`,
        received: `${cached + tokens.length} tokens`,
      });
    }
  }
}

const logitsOf = ({ logits }: TensorOutputs): Float32Array => logits!.data as Float32Array;

/** @throws BitloomError TOKEN_OUT_OF_RANGE naming the first token that is no id of the vocabulary */
export function assertTokens(tokens: ArrayLike<number>, vocabularySize: number): void {
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index]!;
    if (!(Number.isInteger(token) && token >= 0 && token < vocabularySize)) {
      throw new BitloomError("TOKEN_OUT_OF_RANGE", "A token id is outside the vocabulary", {
        expected: `0 to ${vocabularySize - 1}`,
        received: `${token} at index ${index}`,
      });
    }
  }
}
