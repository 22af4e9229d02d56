/** Texts of expressions that know how tightly they bind, and comments. */
import type { BinaryOperator } from "../../kernel/ir.ts";

/**
 * How tightly an expression binds. There is no order between bitwise, shift and other operators: WGSL (8.18) forbids
 * to mix them and C has one that nobody remembers, so they get parentheses.
 */
const level = {
  conditional: 0,
  or: 1,
  and: 2,
  bitwise: 3,
  relational: 4,
  shift: 5,
  add: 6,
  multiply: 7,
  unary: 8,
  primary: 9,
};
export type Level = keyof typeof level;

export interface Text {
  readonly text: string;
  readonly level: Level;
  /** For chains such as `a & b & c`. */
  readonly operator?: BinaryOperator;
}

export const primary = (text: string): Text => ({ text, level: "primary" });
/** A number, which may have a minus. */
export const signed = (text: string): Text => ({ text, level: text.startsWith("-") ? "unary" : "primary" });

/** The text, in parentheses if it binds less tightly than the place asks. */
export function parenthesized({ text, level: own }: Text, least: Level): string {
  return level[own] >= level[least] ? text : `(${text})`;
}

/** Large words are mostly masks and patterns, which people read in hexadecimal. */
export function wordText(word: number): string {
  return word <= 0xffff ? `${word}u` : `0x${word.toString(16).padStart(8, "0")}u`;
}

/** A doc sentence as comment lines. */
export function comment(doc: string | undefined): string[] {
  const lines: string[] = [];
  for (const word of doc?.split(" ") ?? []) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= 100) lines[lines.length - 1] = longer;
    else lines.push(`// ${word}`);
  }
  return lines;
}

/** The head of a function, a parameter a line where one line would be too long; `comma` may follow the last. */
export function signature(
  head: string,
  parameters: readonly string[],
  tail: string,
  comma: "," | "" = "",
): string[] {
  const line = `${head}(${parameters.join(", ")})${tail}`;
  if (line.length <= 110) return [line];
  const last = parameters.length - 1;
  return [`${head}(`, ...parameters.map((text, i) => `  ${text}${i < last ? "," : comma}`), `)${tail}`];
}
