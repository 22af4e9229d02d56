import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { requireSameVocabulary } from "./vocabulary.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-vocabulary-test-"));
});
afterAll(() => rm(folder, { recursive: true }));

const pairs = JSON.stringify({
  model: { vocab: { a: 0, b: 1 } },
  added_tokens: [{ id: 2, content: "<end>" }],
});
const unigrams = (...pieces: string[]) => ({ model: { vocab: pieces.map((piece) => [piece, -1.5]) } });

test.each<[string, object, number | undefined]>([
  ["the same, in another form", unigrams("a", "b", "<end>"), undefined],
  ["more tokens", unigrams("a", "b", "<end>", "c"), undefined],
  ["an added token that is another", unigrams("a", "b", "c"), 2],
  ["fewer tokens", unigrams("a"), 1],
])("a folder of weights with %s", async (_, stored, differs) => {
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(stored));
  const compared = requireSameVocabulary(pairs, { option: "weights", folder });
  if (differs === undefined) await expect(compared).resolves.toBeUndefined();
  else {
    const expected = expect.stringContaining(`token ${differs} to be `);
    await expect(compared).rejects.toMatchObject({ code: "INVALID_OPTION", expected });
  }
});

test("a file that has no vocabulary is corrupt, and none at all says nothing", async () => {
  await writeFile(join(folder, "tokenizer.json"), '{ "model": {} }');
  await expect(requireSameVocabulary(pairs, { option: "weights", folder })).rejects.toMatchObject({
    code: "CORRUPT_FILE",
    received: expect.stringContaining("model.vocab"),
  });
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(unigrams("a")));
  const broken = requireSameVocabulary("{", { option: "weights", folder });
  await expect(broken).rejects.toMatchObject({ code: "CORRUPT_FILE" });
  await requireSameVocabulary(pairs, { option: "weights", folder: join(folder, "none") });
});
