import { BitloomError } from "../../errors/index.ts";
import type { SourceLocation } from "../graph.ts";

/** A name that needs no quotes. */
export const plainName = /^[A-Za-z_][A-Za-z0-9_.]*$/;

export type TokenKind = "word" | "string" | "number" | "value" | "graph name" | "punctuation" | "end";

export interface Token {
  readonly kind: TokenKind;
  /** The token as written. */
  readonly text: string;
  /** A name or string without its sigil, quotes and escapes. */
  readonly content: string;
  readonly offset: number;
}

const QUOTED = String.raw`"(?:[^"\\\n]|\\.)*"`;
const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ["value", new RegExp(`%(?:[A-Za-z0-9_.]+|${QUOTED})`, "y")],
  ["graph name", new RegExp(`@(?:[A-Za-z0-9_.]+|${QUOTED})`, "y")],
  ["number", /-inf(?![A-Za-z0-9_.])|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y],
  ["word", /[A-Za-z_][A-Za-z0-9_.]*/y],
  ["string", new RegExp(QUOTED, "y")],
  ["punctuation", /<=|[()[\]{}:,=]/y],
];
const blank = /(?:\s+|\/\/[^\n]*)*/y;

/** Reads the text form token by token; every complaint is a TEXT_SYNTAX error with line and column. */
export class Lexer {
  readonly #text: string;
  readonly #file: string;
  /** The offset at which each line begins. */
  readonly #lines: readonly number[];
  #token: Token;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    this.#lines = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
    this.#token = this.#read(0);
  }

  /** The token not yet taken. */
  get token(): Token {
    return this.#token;
  }

  /** Takes the next token. */
  take(): Token {
    const token = this.#token;
    this.#token = this.#read(token.offset + token.text.length);
    return token;
  }

  /** Takes the next token if it is written so. */
  accept(text: string): boolean {
    if (this.#token.text !== text) return false;
    this.take();
    return true;
  }

  /** Takes the next token, which must be written so. */
  expect(text: string): void {
    if (!this.accept(text)) this.fail(`\`${text}\``);
  }

  /** Takes the next token, which must be of a kind. */
  expectKind(kind: TokenKind, what: string = kind): Token {
    if (this.#token.kind !== kind) this.fail(what);
    return this.take();
  }

  location({ offset }: Token = this.#token): SourceLocation {
    let line = 1;
    for (let above = this.#lines.length; line < above; ) {
      const middle = Math.ceil((line + above) / 2);
      if (this.#lines[middle - 1]! <= offset) line = middle;
      else above = middle - 1;
    }
    return { file: this.#file, line, column: offset - this.#lines[line - 1]! + 1 };
  }

  /** Throws TEXT_SYNTAX at a token. */
  fail(expected: string, token: Token = this.#token, summary = "The text form cannot be read"): never {
    const { file, line, column } = this.location(token);
    throw new BitloomError("TEXT_SYNTAX", summary, {
      expected,
      received: token.kind === "end" ? "the end of the text" : `\`${token.text}\``,
      location: `${file}:${line}:${column}`,
    });
  }

  #read(from: number): Token {
    blank.lastIndex = from;
    blank.test(this.#text);
    const offset = Math.max(from, blank.lastIndex);
    if (offset >= this.#text.length) return { kind: "end", text: "", content: "", offset };
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = offset;
      const text = pattern.exec(this.#text)?.[0];
      if (text !== undefined) return this.#make(kind, text, offset);
    }
    const text = String.fromCodePoint(this.#text.codePointAt(offset)!);
    return this.fail("a word, name, number or punctuation", {
      kind: "punctuation",
      text,
      content: text,
      offset,
    });
  }

  #make(kind: TokenKind, text: string, offset: number): Token {
    const bare = kind === "value" || kind === "graph name" ? text.slice(1) : text;
    if (!bare.startsWith('"')) return { kind, text, content: bare, offset };
    try {
      return { kind, text, content: JSON.parse(bare) as string, offset };
    } catch {
      return this.fail("a string with JSON's escapes", { kind, text, content: bare, offset });
    }
  }
}
