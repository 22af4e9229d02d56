import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { tokenizerFileNames } from "../../runtime/tokenizer.ts";
import { BYTES, byteTokenizerFiles } from "../../runtime/training/byte-tokenizer.ts";
import type { TrainingRecipe } from "../../runtime/training/recipe.ts";
import { openTokenizer, splitText, type TextWindows, tokenize } from "../../runtime/training/text.ts";
import { learnBytePairs } from "./byte-pairs.ts";
import type { Training } from "./training.ts";
import { requireSameVocabulary, type VocabularyFolder } from "./vocabulary.ts";

/** The text of a training as tokens, and what makes text of them again. */
export interface TextData extends TextWindows {
  /** sha256 of the tokens. */
  readonly digest: string;
  /** The tokenizer's files by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** What a training's text is made tokens of with. */
export interface TextSource extends Pick<Training, "text" | "tokenizer"> {
  /** Folders of weights that have to know the tokenizer's tokens. */
  readonly vocabularies: readonly VocabularyFolder[];
}

/**
 * Reads and tokenizes a training's text.
 * @param base the folder that its paths are relative to
 * @throws BitloomError MISSING_FILE, CORRUPT_FILE for a tokenizer, INVALID_OPTION for a vocabulary it does not fit,
 *   INVALID_INPUT for too little text
 */
export async function readText(source: TextSource, recipe: TrainingRecipe, base: string): Promise<TextData> {
  const files = await tokenizerFiles(source, base);
  const tokens = tokenize(await readTexts(source, base), recipe, await openTokenizer(files));
  return {
    ...splitText(tokens, recipe),
    digest: createHash("sha256").update(new Uint8Array(tokens.buffer)).digest("hex"),
    files,
  };
}

/** UTF-8. */
async function readTexts({ text }: Pick<Training, "text">, base: string): Promise<readonly Uint8Array[]> {
  return Promise.all(
    text.map((one) => (typeof one === "string" ? readWhole(resolve(base, one)) : Buffer.from(one.content))),
  );
}

async function readWhole(path: string): Promise<Buffer> {
  return readFile(path).catch((cause) => {
    throw new BitloomError("MISSING_FILE", `Cannot read ${path}`, {
      hint: "Paths are relative to the file that holds the training, and in a call of `train` to its option `base`.",
      cause,
    });
  });
}

/**
 * The files by name of the tokenizer that a training asks for; one that is made for its text is made here.
 * @throws BitloomError MISSING_FILE, CORRUPT_FILE, and INVALID_OPTION for tokens that weights know as others
 */
export async function tokenizerFiles(
  source: TextSource,
  base: string,
): Promise<Readonly<Record<string, string>>> {
  const files = await filesOf(source, base);
  for (const folder of source.vocabularies) await requireSameVocabulary(files["tokenizer.json"]!, folder);
  return files;
}

async function filesOf(
  { text, tokenizer }: TextSource,
  base: string,
): Promise<Readonly<Record<string, string>>> {
  if (tokenizer === undefined) return byteTokenizerFiles();
  if (typeof tokenizer === "object") {
    return byteTokenizerFiles(learnBytePairs(await readTexts({ text }, base), tokenizer.vocabulary - BYTES));
  }
  const folder = resolve(base, tokenizer);
  const files: Record<string, string> = {
    "tokenizer.json": (await readWhole(join(folder, "tokenizer.json"))).toString("utf8"),
  };
  for (const name of tokenizerFileNames.slice(1)) {
    const text = await readFile(join(folder, name), "utf8").catch(() => undefined);
    if (text !== undefined) files[name] = text;
  }
  return files;
}
