import { BitloomError } from "../errors/index.ts";
import { throwIfAborted, yieldToEvents } from "./abort.ts";
import type { CachedSequence } from "./cached-sequence.ts";
import type { LanguageModel as LanguageModelInfo } from "./manifest.ts";
import { checkOptions, checkSignal, describe, invalidOption } from "./options.ts";
import { type SamplingOptions, type SamplingSettings, samplingSettings } from "./sampling.ts";
import type { Work } from "./session.ts";
import { StopStrings } from "./stop-strings.ts";
import { TextStream } from "./text-stream.ts";
import { TokenChooser } from "./token-chooser.ts";
import type { Message, Tokenizer } from "./tokenizer.ts";

/** A text, its token ids, or a conversation that the chat template turns into a text. */
export type Prompt = string | readonly number[] | Int32Array | readonly Message[];

export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate at most. Default: what the context has room for. */
  readonly maxTokens?: number | undefined;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: string | readonly string[] | undefined;
  /** Token ids that end the answer, beside the model's own. */
  readonly stopTokens?: readonly number[] | undefined;
  /** Go on past the model's own stop tokens. Default false. */
  readonly ignoreStopTokens?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GeneratedToken {
  readonly token: number;
  /** The text this token completes: empty while a character or a possible stop text is incomplete. */
  readonly text: string;
}

export interface Timings {
  readonly loadMs: number;
  /** The prompt, up to its last logits. */
  readonly prefillMs: number;
  /** Everything after, without the time the consumer took. */
  readonly decodeMs: number;
  /** Tokens decoded per second of `decodeMs`; 0 before there are any. */
  readonly tokensPerSecond: number;
}

export interface GenerationResult {
  /** What was generated, without stop texts and special tokens. */
  readonly text: string;
  /** What was generated, a stop token at the end included. */
  readonly tokens: readonly number[];
  readonly promptTokens: readonly number[];
  /** Logits of the prompt's last position, f32[V]; empty until the prompt has run. */
  readonly promptLogits: Float32Array;
  /** Why it ended; undefined while it has not, or when it was ended from outside. */
  readonly finishReason: "stop" | "length" | undefined;
  /** The seed used, whether given or drawn. */
  readonly seed: number;
  readonly timings: Timings;
}

/** What a generation needs of its model. */
export interface GenerationContext {
  readonly info: LanguageModelInfo;
  readonly sequence: CachedSequence;
  readonly tokenizer: Tokenizer | undefined;
  readonly loadMs: number;
  /** Takes the model until the returned function is called. */
  acquire(work: Work): () => void;
}

const optionNames: readonly (keyof GenerateOptions)[] = [
  "maxTokens",
  "stop",
  "stopTokens",
  "ignoreStopTokens",
  "signal",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "seed",
];

const generating: Work = {
  name: "a generation that has not ended",
  hint: "Let it end (`await generation.finish()`), leave its loop (`break`), or abort its `signal`.",
};

/** How many tokens of the prompt the decoder of the first new ones is shown. */
const DECODER_CONTEXT = 8;

/**
 * An answer in the making: iterate it once, token by token, or `await finish()`. It takes the model at the
 * first token and gives it back when it ends, is left (`break`), or fails.
 */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly #context: GenerationContext;
  readonly #prompt: Prompt;
  readonly #options: GenerateOptions;
  readonly #settings: SamplingSettings;
  readonly #seed: number;
  readonly #iterator: AsyncGenerator<GeneratedToken, void, undefined>;
  #text = "";
  #tokens: number[] = [];
  #promptTokens: readonly number[] = [];
  #promptLogits: Float32Array = new Float32Array();
  #finishReason: GenerationResult["finishReason"];
  #prefillMs = 0;
  #decodeMs = 0;
  #decoded = 0;

  /** @throws BitloomError INVALID_OPTION naming the option */
  constructor(context: GenerationContext, prompt: Prompt, options: GenerateOptions) {
    this.#context = context;
    this.#prompt = prompt;
    this.#options = options;
    checkOptions("generate", options, optionNames);
    checkStops(options, context.info.vocabularySize);
    checkSignal(options.signal);
    this.#settings = samplingSettings(options);
    this.#seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
    assertInteger("seed", this.#seed, -Infinity);
    if (options.maxTokens !== undefined) assertInteger("maxTokens", options.maxTokens, 1);
    this.#iterator = this.#run();
  }

  [Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, undefined> {
    return this.#iterator;
  }

  /** Generates what remains. @throws BitloomError as iterating does */
  async finish(): Promise<GenerationResult> {
    while (!(await this.#iterator.next()).done);
    return this.result;
  }

  /** What there is so far. */
  get result(): GenerationResult {
    return {
      text: this.#text,
      tokens: [...this.#tokens],
      promptTokens: this.#promptTokens,
      promptLogits: this.#promptLogits,
      finishReason: this.#finishReason,
      seed: this.#seed,
      timings: {
        loadMs: this.#context.loadMs,
        prefillMs: this.#prefillMs,
        decodeMs: this.#decodeMs,
        tokensPerSecond: this.#decoded === 0 ? 0 : (1000 * this.#decoded) / this.#decodeMs,
      },
    };
  }

  async *#run(): AsyncGenerator<GeneratedToken, void, undefined> {
    const { sequence, tokenizer, info } = this.#context;
    const { signal, stop = [], stopTokens = [], ignoreStopTokens = false } = this.#options;
    const release = this.#context.acquire(generating);
    try {
      throwIfAborted(signal);
      this.#promptTokens = await encodePrompt(this.#prompt, tokenizer);
      let started = performance.now();
      this.#promptLogits = await sequence.replace(this.#promptTokens, signal);
      this.#prefillMs = performance.now() - started;

      const ends = new Set([...(ignoreStopTokens ? [] : info.stopTokens), ...stopTokens]);
      const stops = new StopStrings(typeof stop === "string" ? [stop] : stop);
      const stream = new TextStream(
        (tokens) => tokenizer?.decode(tokens) ?? "",
        this.#promptTokens.slice(-DECODER_CONTEXT),
      );
      // The last token of an answer need not fit into the cache.
      const room = info.contextLength - this.#promptTokens.length + 1;
      const most = Math.min(this.#options.maxTokens ?? room, room);

      started = performance.now();
      const chooser = new TokenChooser(this.#context, this.#promptTokens, this.#settings, this.#seed);
      let token = chooser.first(this.#promptLogits);
      for (;;) {
        this.#tokens.push(token);
        const ended = ends.has(token);
        let text = ended ? "" : stops.push(stream.push(token));
        if (ended || stops.stopped) this.#finishReason = "stop";
        else if (this.#tokens.length === most) this.#finishReason = "length";
        if (this.#finishReason !== undefined) text += stops.push(stream.flush()) + stops.flush();
        this.#text += text;
        this.#decodeMs += performance.now() - started;
        yield { token, text };
        if (this.#finishReason !== undefined) return;

        started = performance.now();
        // Without this turn of the event loop nobody could abort.
        await yieldToEvents();
        token = await chooser.after(token, signal);
        this.#decoded++;
      }
    } finally {
      release();
    }
  }
}

async function encodePrompt(prompt: Prompt, tokenizer: Tokenizer | undefined): Promise<readonly number[]> {
  if (typeof prompt !== "string" && !isList(prompt)) {
    throw new BitloomError("INVALID_INPUT", "This is no prompt", {
      expected: "a text, token ids, or messages { role, content }",
      received: describe(prompt),
    });
  }
  if (typeof prompt !== "string" && (prompt.length === 0 || typeof prompt[0] === "number")) {
    return Array.from(prompt as ArrayLike<number>);
  }
  if (tokenizer === undefined) {
    throw new BitloomError("INVALID_INPUT", "The artifact has no tokenizer", {
      hint: "Give token ids, or build from a checkpoint with tokenizer.json.",
    });
  }
  return typeof prompt === "string"
    ? tokenizer.encode(prompt)
    : tokenizer.encodeChat(prompt as readonly Message[]);
}

const isList = (value: unknown): boolean => Array.isArray(value) || ArrayBuffer.isView(value);

/** @throws BitloomError INVALID_OPTION for a stop that could never be met, or would be at once */
function checkStops({ stop = [], stopTokens = [] }: GenerateOptions, vocabularySize: number): void {
  const texts = typeof stop === "string" ? [stop] : stop;
  if (!isList(texts) || !texts.every((text) => typeof text === "string" && text !== "")) {
    throw invalidOption("stop", "a text that is not empty, or an array of such", stop);
  }
  const isToken = (token: number) => Number.isInteger(token) && token >= 0 && token < vocabularySize;
  if (!isList(stopTokens) || !Array.from(stopTokens).every(isToken)) {
    throw invalidOption("stopTokens", `an array of token ids, 0 to ${vocabularySize - 1}`, stopTokens);
  }
}

function assertInteger(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw invalidOption(
    name,
    least === -Infinity ? "a whole number" : `a whole number of at least ${least}`,
    value,
  );
}
