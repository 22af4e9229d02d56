/** Loss and perplexity on held-out text. */
export interface Measured {
  readonly name: string;
  /** Mean cross-entropy in nats a token. */
  readonly loss: number;
}

/** A table of Markdown. */
export function table(...rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows.map((cells) => `| ${cells.join(" | ")} |`);
  return [head, `|${"---|".repeat(rows[0]!.length)}`, ...body].join("\n");
}

/** Name, loss, perplexity, and how much higher both are than those of the first. */
export function comparison([base, ...others]: readonly Measured[]): string {
  const cells = ({ name, loss }: Measured) => [name, loss.toFixed(4), Math.exp(loss).toFixed(3)];
  return table(
    ["", "held-out loss", "perplexity", "loss against the first", "perplexity against the first"],
    [...cells(base!), "", ""],
    ...others.map((one) => [
      ...cells(one),
      percent(one.loss / base!.loss - 1),
      percent(Math.exp(one.loss - base!.loss) - 1),
    ]),
  );
}

/** A share with its sign. */
export function percent(share: number): string {
  return `${share < 0 ? "" : "+"}${(100 * share).toFixed(1)}%`;
}

/**
 * A document with what is measured put between its marks, `<!-- measured: NAME -->` and `<!-- end -->`.
 * @throws Error where there is no such mark
 */
export function withMeasured(document: string, name: string, measured: string): string {
  const mark = `<!-- measured: ${name} -->`;
  const start = document.indexOf(mark);
  const end = document.indexOf("<!-- end -->", start);
  if (start < 0 || end < 0) throw new Error(`The document has no place for ${name}`);
  return `${document.slice(0, start + mark.length)}\n${measured}\n${document.slice(end)}`;
}
