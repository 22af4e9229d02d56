import { BitloomError } from "../errors/index.ts";
import { assertTokens, CachedSequence } from "./cached-sequence.ts";
import type { Device } from "./devices/device.ts";
import { type GenerateOptions, Generation, type Prompt } from "./generate.ts";
import type { LanguageModel as LanguageModelInfo, Manifest } from "./manifest.ts";
import { type LoadReport, Model } from "./model.ts";
import { checkOptions, checkSignal, describe } from "./options.ts";
import type { TensorInputs, TensorOutputs } from "./session.ts";
import { checkInputs } from "./tensors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Options of a single call of the model. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

function checkCall(owner: string, options: CallOptions): CallOptions {
  checkOptions(owner, options, ["signal"]);
  checkSignal(options.signal);
  return options;
}

/** A loaded artifact that continues text. Keeps the keys and values of one sequence between calls. */
export class LanguageModel extends Model {
  readonly info: LanguageModelInfo;
  /** Absent where the artifact carries none: token ids go in and come out. */
  readonly tokenizer: Tokenizer | undefined;
  readonly #sequence: CachedSequence;

  constructor(
    manifest: Manifest & { readonly languageModel: LanguageModelInfo },
    device: Device,
    report: LoadReport,
    tokenizer: Tokenizer | undefined,
  ) {
    super(manifest, device, report);
    this.info = manifest.languageModel;
    this.tokenizer = tokenizer;
    this.#sequence = new CachedSequence(this.session, this.info);
  }

  /** The tokens whose keys and values are cached. */
  get cachedTokens(): readonly number[] {
    return this.#sequence.tokens;
  }

  /**
   * Logits after the last of `tokens`, f32[V]. A beginning that the cache already holds is not computed again.
   * @throws BitloomError INVALID_INPUT (no tokens), TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, ABORTED, BUSY, DISPOSED
   */
  async prefill(tokens: readonly number[], options: CallOptions = {}): Promise<Float32Array> {
    const { signal } = checkCall("prefill", options);
    if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens)) {
      throw new BitloomError("INVALID_INPUT", "prefill takes token ids", {
        expected: "an array of whole numbers",
        received: describe(tokens),
        hint: "`tokenizer.encode(text)` gives the ids of a text.",
      });
    }
    return this.#exclusively(() => this.#sequence.replace(tokens, signal));
  }

  /** Logits after `token` has been added to the cached tokens, f32[V]. Errors as `prefill`. */
  async decode(token: number, options: CallOptions = {}): Promise<Float32Array> {
    const { signal } = checkCall("decode", options);
    return this.#exclusively(() => this.#sequence.append(token, signal));
  }

  /** Forgets the cached tokens. @throws BitloomError BUSY, DISPOSED */
  reset(): void {
    const release = this.session.acquire();
    this.#sequence.clear();
    release();
  }

  /**
   * Continues a prompt: `for await (const { text } of model.generate("Once"))`. Greedy unless a temperature is
   * given. A prompt that begins like the cached tokens reuses them.
   * @throws BitloomError INVALID_OPTION at once; while iterating also INVALID_INPUT (an empty prompt, no
   *   tokenizer or chat template), TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, INVALID_LOGITS, ABORTED, BUSY, DISPOSED
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    return new Generation(
      {
        info: this.info,
        sequence: this.#sequence,
        tokenizer: this.tokenizer,
        loadMs: this.loadMs,
        acquire: (work) => this.session.acquire(work),
      },
      prompt,
      options,
    );
  }

  /** The entry `run` on own positions and slots; the cached tokens are forgotten. */
  override async run(inputs: TensorInputs): Promise<TensorOutputs> {
    checkInputs(inputs);
    this.#checkPlaces(inputs);
    this.reset();
    return super.run(inputs);
  }

  /** Embedding and cache rows are addressed by these inputs' values, so that no kernel checks them. */
  #checkPlaces(inputs: TensorInputs): void {
    const { vocabularySize, contextLength, slots } = this.info;
    const values = (name: string): Int32Array => {
      const input = inputs[name];
      const data = ArrayBuffer.isView(input) ? input : input?.data;
      // What is not i32 is refused, with both types, where all inputs are.
      return data instanceof Int32Array ? data : new Int32Array();
    };
    const repeated = values("slots").find((slot, index, all) => all.indexOf(slot) !== index);
    if (repeated !== undefined && this.manifest.regions.state > 0) {
      throw new BitloomError("INVALID_INPUT", "Two sequences cannot share a cache slot", {
        expected: "each slot once",
        received: `slot ${repeated} twice`,
      });
    }
    assertTokens(values("tokens"), vocabularySize);
    const batch = Math.max(1, values("positions").length);
    const length = values("tokens").length / batch;
    const check = (name: string, limit: number) => {
      const wrong = values(name).findIndex((value) => value < 0 || value > limit);
      if (wrong < 0) return;
      throw new BitloomError("INVALID_INPUT", `The input "${name}" points outside the cache`, {
        expected: `0 to ${limit}`,
        received: `${values(name)[wrong]} at index ${wrong}`,
      });
    };
    check("positions", contextLength - length);
    check("slots", slots - 1);
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const release = this.session.acquire();
    try {
      return await work();
    } finally {
      release();
    }
  }
}
