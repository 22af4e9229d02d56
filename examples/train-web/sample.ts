import { create } from "../web/dom.ts";

/** What the model wrote at some step, as the page shows it. */
export class Sample {
  readonly element: HTMLElement;
  readonly #text = create("span");
  readonly #footer = create("footer");

  constructor(prompt: string) {
    // Read aloud once it is whole, not piece by piece.
    this.#footer.ariaLive = "off";
    this.#text.ariaBusy = "true";
    this.element = create("article.sample", this.#footer, create("p", create("strong", prompt), this.#text));
  }

  /** @param facts what there is to say of the model that wrote it */
  show(text: string, facts: readonly string[], isWhole: boolean): void {
    this.#text.textContent = text;
    this.#footer.textContent = facts.join(" · ");
    this.#text.ariaBusy = String(!isWhole);
  }
}
