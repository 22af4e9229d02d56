import { BitloomError } from "../../errors/index.ts";
import { Tokenizer } from "../tokenizer.ts";
import { byteTokenizerFiles } from "./byte-tokenizer.ts";
import type { TrainingRecipe } from "./recipe.ts";
import { Windows } from "./windows.ts";

/** The tokenizer of these files by name; undefined where its tokens are bytes. @throws BitloomError CORRUPT_FILE */
export async function openTokenizer(files: Readonly<Record<string, string>>): Promise<Tokenizer | undefined> {
  const isBytes = files["tokenizer.json"] === byteTokenizerFiles()["tokenizer.json"];
  return isBytes ? undefined : Tokenizer.fromFiles(async (name) => files[name]);
}

/**
 * Texts as tokens, one after the other: the bytes of UTF-8, or what a tokenizer makes of them and, behind each, the
 * recipe's end token.
 * @param texts UTF-8
 * @throws BitloomError INVALID_OPTION for tokens beyond the vocabulary
 */
export function tokenize(
  texts: readonly Uint8Array[],
  { vocabularySize, endToken }: Pick<TrainingRecipe, "vocabularySize" | "endToken">,
  tokenizer?: Tokenizer,
): Int32Array<ArrayBuffer> {
  const end = endToken === null ? [] : [endToken];
  const encode = (text: Uint8Array): ArrayLike<number> =>
    tokenizer ? [...tokenizer.encode(new TextDecoder().decode(text), false), ...end] : text;
  const parts = texts.map(encode);
  const tokens = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let position = 0;
  for (const part of parts) {
    tokens.set(part, position);
    position += part.length;
  }
  const largest = tokens.reduce((a, b) => Math.max(a, b), tokenizer ? 0 : 0xff);
  if (largest < vocabularySize) return tokens;
  throw new BitloomError("INVALID_OPTION", "The model's vocabulary is smaller than the tokenizer's", {
    expected: `a vocabulary of at least ${largest + 1}`,
    received: `${vocabularySize}`,
    hint: "Raise the model's vocabularySize, or take a tokenizer of fewer tokens.",
  });
}

/** A text in two parts, each cut into windows. */
export interface TextWindows {
  readonly trained: Windows;
  readonly heldOut: Windows;
}

/** Holds back the end of a text. @throws BitloomError INVALID_INPUT for too little of it */
export function splitText(
  tokens: Int32Array,
  { sequence, seed, heldOut }: Pick<TrainingRecipe, "sequence" | "seed" | "heldOut">,
): TextWindows {
  const border = Math.floor(tokens.length * (1 - heldOut));
  return {
    trained: new Windows(tokens.subarray(0, border), sequence, seed),
    heldOut: new Windows(tokens.subarray(border), sequence, seed),
  };
}
