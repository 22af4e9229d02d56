import { join } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { readOptionalJson } from "../checkpoint/json-file.ts";

/** A folder whose weights have learnt what tokens mean. */
export interface VocabularyFolder {
  /** Whose it is, as the person who trains knows it: an option. */
  readonly option: string;
  readonly folder: string;
}

/** What of tokenizer.json says which text a token is: pieces by id, in either of the forms that models have. */
const schema = z.object({
  model: z.object({
    vocab: z.union([z.record(z.string(), z.number()), z.array(z.tuple([z.string(), z.number()]))]),
  }),
  added_tokens: z.array(z.object({ id: z.number(), content: z.string() })).default([]),
});

/**
 * Refuses a tokenizer of which some token is another one in a folder, whose weights would take it for that. A folder may
 * have more tokens, and one without tokenizer.json is taken as it is.
 * @param tokenizer the text of tokenizer.json
 * @throws BitloomError INVALID_OPTION naming the first id that differs, CORRUPT_FILE
 */
export async function requireSameVocabulary(
  tokenizer: string,
  { option, folder }: VocabularyFolder,
): Promise<void> {
  const path = join(folder, "tokenizer.json");
  const stored = await readOptionalJson(path);
  if (stored === undefined) return;
  const [own, theirs] = [tokensById(parsedJson(tokenizer), "tokenizer.json"), tokensById(stored, path)];
  const differs = [...own].sort(([a], [b]) => a - b).find(([id, token]) => theirs.get(id) !== token);
  if (differs === undefined) return;
  const [id, token] = differs;
  const other = theirs.get(id);
  throw new BitloomError(
    "INVALID_OPTION",
    `The tokenizer has other tokens than \`${option}\` was trained with`,
    {
      expected: `token ${id} to be ${other === undefined ? "none" : JSON.stringify(other)}, as in ${path}`,
      received: `${JSON.stringify(token)}, of the ${own.size} tokens of the training's tokenizer`,
      hint:
        option === "weights"
          ? "Leave `tokenizer` out, which takes that of `weights`."
          : `Choose a model for \`${option}\` that has the tokenizer of the one that is trained, such as that it was converted from.`,
    },
  );
}

/** What is no JSON has no vocabulary either. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function tokensById(tokenizer: unknown, path: string): ReadonlyMap<number, string> {
  const parsed = schema.safeParse(tokenizer);
  if (!parsed.success) {
    const { path: field, message } = parsed.error.issues[0]!;
    throw new BitloomError("CORRUPT_FILE", `${path} describes no vocabulary`, {
      received: `${field.join(".")}: ${message}`,
      hint: "Take tokenizer.json from where the model was published.",
    });
  }
  const { model, added_tokens: added } = parsed.data;
  const pieces = Array.isArray(model.vocab)
    ? model.vocab.map(([piece], id) => [id, piece] as const)
    : Object.entries(model.vocab).map(([piece, id]) => [id, piece] as const);
  return new Map([...pieces, ...added.map(({ id, content }) => [id, content] as const)]);
}
