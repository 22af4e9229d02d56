import { create } from "../web/dom.ts";
import type { Failure } from "../web/failure.ts";
import { failureNotice } from "../web/notices.ts";
import type { AnswerStatistics } from "./messages.ts";

/** A prompt and its answer, as the conversation shows them. */
export class Turn {
  readonly prompt: string;
  /** Whether the chat template writes it; otherwise the answer continues the prompt. */
  readonly isChat: boolean;
  readonly element: HTMLElement;
  readonly #shown = document.createTextNode("");
  readonly #answer: HTMLElement;
  readonly #footer = create("footer");
  #text = "";
  #frame = 0;

  constructor(prompt: string, isChat: boolean) {
    this.prompt = prompt;
    this.isChat = isChat;
    this.#answer = create("p.answer", this.#shown);
    // Read aloud once it is whole, not piece by piece.
    this.#answer.ariaBusy = "true";
    this.#footer.ariaLive = "off";
    this.element = create(
      "article.turn",
      create("h3", "Prompt"),
      create("p.prompt", prompt),
      create("h3", "Answer"),
      this.#answer,
      this.#footer,
    );
    this.element.classList.add(isChat ? "chat" : "completion");
  }

  /** The answer so far. */
  get answer(): string {
    return this.#text;
  }

  append(text: string, statistics: AnswerStatistics): void {
    this.#text += text;
    // Tokens may come faster than the screen shows them.
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show([speed(statistics)]);
    });
  }

  /** @param remarks what there is to say beside the speed */
  finish(statistics: AnswerStatistics, remarks: readonly string[]): void {
    this.#show([speed(statistics), ...remarks]);
    this.#end();
  }

  fail(failure: Failure): void {
    this.#show([]);
    this.#end();
    this.element.append(failureNotice(failure));
  }

  #show(facts: readonly string[]): void {
    this.#shown.data = this.#text;
    this.#footer.textContent = facts.join(" · ");
  }

  #end(): void {
    cancelAnimationFrame(this.#frame);
    this.#answer.ariaBusy = "false";
  }
}

function speed({ tokens, tokensPerSecond }: AnswerStatistics): string {
  const count = `${tokens} token${tokens === 1 ? "" : "s"}`;
  // The first one comes of the prompt: there is no speed yet.
  if (tokensPerSecond === 0) return count;
  return `${count} · ${tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)} tokens/s`;
}
