/**
 * Lets text through up to the first of the stop strings. Text that may be the start of one is held back until
 * it is known not to be.
 */
export class StopStrings {
  readonly #strings: readonly string[];
  #held = "";
  #stopped = false;

  /** @param strings none of them empty */
  constructor(strings: readonly string[]) {
    this.#strings = strings;
  }

  /** Whether a stop string has been met; nothing passes any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text that may pass now that `piece` has come. */
  push(piece: string): string {
    if (this.#stopped) return "";
    const text = this.#held + piece;
    const found = this.#strings.map((string) => text.indexOf(string)).filter((index) => index >= 0);
    if (found.length > 0) {
      this.#stopped = true;
      this.#held = "";
      return text.slice(0, Math.min(...found));
    }
    const keep = Math.max(0, ...this.#strings.map((string) => overlap(text, string)));
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back, when no more text comes. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

/** Length of the longest end of `text` that a proper beginning of `string` equals. */
function overlap(text: string, string: string): number {
  for (let length = Math.min(text.length, string.length - 1); length > 0; length--) {
    if (text.endsWith(string.slice(0, length))) return length;
  }
  return 0;
}
