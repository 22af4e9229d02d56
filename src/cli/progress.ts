import { formatBytes } from "../../codegen/schedule/bytes.ts";

/**
 * Tells a person how long work is going, on stderr: one line that redraws itself in a terminal, one plain
 * line a stage elsewhere.
 */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #interactive: boolean;
  #stage = "";
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#interactive = stream.isTTY === true && process.env.TERM !== "dumb";
  }

  /** Begins or goes on with a stage; totals are bytes. */
  update(stage: string, loaded?: number, total?: number): void {
    const begins = stage !== this.#stage;
    this.#stage = stage;
    if (!this.#interactive) {
      if (begins) this.#stream.write(`${stage}\n`);
      return;
    }
    const now = performance.now();
    if (!begins && loaded !== total && now - this.#drawn < 80) return;
    this.#drawn = now;
    const amount = total
      ? `  ${bar((loaded ?? 0) / total)}  ${formatBytes(loaded ?? 0)} of ${formatBytes(total)}`
      : "";
    this.#stream.write(`\r\u001b[2K${stage}${amount}`);
  }

  /** Clears the line, so that what follows stands alone. */
  clear(): void {
    if (this.#interactive && this.#stage !== "") this.#stream.write("\r\u001b[2K");
    this.#stage = "";
  }
}

function bar(fraction: number): string {
  const width = 24;
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return "━".repeat(filled) + "─".repeat(width - filled);
}
