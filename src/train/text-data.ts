import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { Tokenizer } from "../../runtime/tokenizer.ts";
import { BYTES, byteTokenizerFiles } from "./byte-tokenizer.ts";
import type { Training } from "./training.ts";
import { Windows } from "./windows.ts";

/** The text of a training as tokens, and what makes text of them again. */
export interface TextData {
  readonly trained: Windows;
  readonly heldOut: Windows;
  /** sha256 of the tokens. */
  readonly digest: string;
  /** The tokenizer's files by name. */
  readonly files: Readonly<Record<string, string>>;
}

const tokenizerFileNames = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/**
 * Reads and tokenizes a training's text.
 * @param base the folder that its paths are relative to
 * @throws BitloomError MISSING_FILE, CORRUPT_FILE for a tokenizer, INVALID_OPTION for a vocabulary it does not fit,
 *   INVALID_INPUT for too little text
 */
export async function readText(training: Training, base: string): Promise<TextData> {
  const { text, tokenizer: folder, model, sequence, seed } = training;
  const texts = await Promise.all(text.map((path) => readWhole(resolve(base, path))));
  const files = folder === undefined ? byteTokenizerFiles() : await tokenizerFiles(resolve(base, folder));
  const encode = folder === undefined ? bytesOf : await encoder(files, model.eosTokens[0]);
  const parts = texts.map(encode);
  const tokens = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    tokens.set(part, end);
    end += part.length;
  }
  const largest = folder === undefined ? BYTES - 1 : tokens.reduce((a, b) => Math.max(a, b), 0);
  if (largest >= model.vocabularySize) {
    throw new BitloomError("INVALID_OPTION", "The model's vocabulary is smaller than the tokenizer's", {
      expected: `a vocabulary of at least ${largest + 1}`,
      received: `${model.vocabularySize}`,
    });
  }
  const border = Math.floor(tokens.length * (1 - training.heldOut));
  return {
    trained: new Windows(tokens.subarray(0, border), sequence, seed),
    heldOut: new Windows(tokens.subarray(border), sequence, seed),
    digest: createHash("sha256").update(new Uint8Array(tokens.buffer)).digest("hex"),
    files,
  };
}

async function readWhole(path: string): Promise<Buffer> {
  return readFile(path).catch((cause) => {
    throw new BitloomError("MISSING_FILE", `Cannot read ${path}`, {
      hint: "Paths are relative to the file that holds the training.",
      cause,
    });
  });
}

const bytesOf = (text: Uint8Array): ArrayLike<number> => text;

/** Tokens of a text, and the one that ends it if the model has one. */
async function encoder(
  files: Readonly<Record<string, string>>,
  end: number | undefined,
): Promise<(text: Buffer) => ArrayLike<number>> {
  const tokenizer = await Tokenizer.fromFiles(async (name) => files[name]);
  return (text) => [...tokenizer!.encode(text.toString("utf8"), false), ...(end === undefined ? [] : [end])];
}

async function tokenizerFiles(folder: string): Promise<Readonly<Record<string, string>>> {
  const files: Record<string, string> = {
    "tokenizer.json": (await readWhole(join(folder, "tokenizer.json"))).toString("utf8"),
  };
  for (const name of tokenizerFileNames.slice(1)) {
    const text = await readFile(join(folder, name), "utf8").catch(() => undefined);
    if (text !== undefined) files[name] = text;
  }
  return files;
}
