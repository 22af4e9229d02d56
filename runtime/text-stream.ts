/** What a decoder puts where bytes are not (yet) UTF-8. */
const REPLACEMENT = "\uFFFD";

/**
 * Turns tokens into text as they come, so that the pieces joined are the decoding of the whole: a character
 * whose bytes span tokens is held back until it is complete.
 */
export class TextStream {
  readonly #decode: (tokens: readonly number[]) => string;
  /** Tokens already turned into text: decoders treat the first token of a text differently from later ones. */
  #context: readonly number[];
  #contextText: string;
  #pending: number[] = [];
  /** Characters of the pending tokens' text already given out. */
  #given = 0;

  /**
   * @param decode the text of a sequence of tokens
   * @param before the tokens the text continues
   */
  constructor(decode: (tokens: readonly number[]) => string, before: readonly number[] = []) {
    this.#decode = decode;
    const text = decode(before);
    // A text that ends inside a character cannot be continued by slicing; the rest of it shows as replacement.
    const usable = !text.endsWith(REPLACEMENT);
    this.#context = usable ? before : [];
    this.#contextText = usable ? text : "";
  }

  /** The text that `token` completes; may be empty. */
  push(token: number): string {
    this.#pending.push(token);
    const text = this.#pendingText();
    if (text.endsWith(REPLACEMENT)) return this.#give(text.slice(0, -REPLACEMENT.length));
    const piece = this.#give(text);
    this.#context = text === "" ? [...this.#context, ...this.#pending] : this.#pending;
    this.#contextText = this.#decode(this.#context);
    this.#pending = [];
    this.#given = 0;
    return piece;
  }

  /** What is left when no more tokens come: incomplete bytes as replacement characters. */
  flush(): string {
    return this.#pending.length === 0 ? "" : this.#give(this.#pendingText());
  }

  #pendingText(): string {
    return this.#decode([...this.#context, ...this.#pending]).slice(this.#contextText.length);
  }

  #give(text: string): string {
    const piece = text.slice(this.#given);
    this.#given = Math.max(this.#given, text.length);
    return piece;
  }
}
