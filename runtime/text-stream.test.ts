import { fc, it as property } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { TextStream } from "./text-stream.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
/** A byte vocabulary: every token is one byte. */
const bytes = (tokens: readonly number[]) => utf8.decode(Uint8Array.from(tokens));
/** A vocabulary as SentencePiece has it: the space before the first word is dropped. */
const words = ["▁a", "▁the", "b", "▁", ","];
const sentencePiece = (tokens: readonly number[]) =>
  tokens
    .map((token) => words[token])
    .join("")
    .replaceAll("▁", " ")
    .replace(/^ /, "");

const stream = (
  decode: (tokens: readonly number[]) => string,
  tokens: readonly number[],
  before?: number[],
) => {
  const text = new TextStream(decode, before);
  const pieces = tokens.map((token) => text.push(token));
  return { pieces, end: text.flush() };
};

describe("TextStream", () => {
  property.prop([fc.string({ unit: "binary" })])(
    "joins to the text, and never shows half a character",
    (text) => {
      const { pieces, end } = stream(bytes, [...new TextEncoder().encode(text)]);
      // A lone surrogate is no text: it was encoded as a replacement character.
      const whole = utf8.decode(new TextEncoder().encode(text));
      expect(pieces.join("") + end).toBe(whole);
      if (!whole.includes("\uFFFD")) expect([...pieces.join("")]).toEqual([...whole]);
    },
  );

  property.prop([fc.uint8Array()])("joins to the decoding of any bytes at all", (data) => {
    const { pieces, end } = stream(bytes, [...data]);
    expect(pieces.join("") + end).toBe(bytes([...data]));
  });

  property.prop([fc.array(fc.nat(4)), fc.array(fc.nat(4))])(
    "keeps the space between words",
    (before, tokens) => {
      const { pieces, end } = stream(sentencePiece, tokens, before);
      expect(sentencePiece(before) + pieces.join("") + end).toBe(sentencePiece([...before, ...tokens]));
    },
  );

  it("holds a character back until its last byte", () => {
    expect(stream(bytes, [...new TextEncoder().encode("é😀!")])).toEqual({
      pieces: ["", "é", "", "", "", "😀", "!"],
      end: "",
    });
  });

  it("gives incomplete bytes out at the end", () => {
    expect(stream(bytes, [0x61, 0xf0, 0x9f])).toEqual({ pieces: ["a", "", ""], end: "\uFFFD" });
  });

  it("starts cleanly after a prompt that ends inside a character", () => {
    const { pieces, end } = stream(bytes, [0x98, 0x80, 0x61], [0xf0, 0x9f]);
    expect(pieces.join("") + end).toBe("\uFFFD\uFFFDa");
  });
});
