import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Tokenizer } from "../../runtime/tokenizer.ts";
import type { Checkpoint } from "../checkpoint/huggingface.ts";
import { languageModel } from "../dsl/families/index.ts";
import type { LanguageModel } from "../dsl/language-model.ts";
import { invalidOption } from "../dsl/options.ts";
import { type CompileOptions, type CompileReport, compile } from "./compile.ts";

/**
 * What a checkpoint gives to `compile`: its model, and the files its tokenizer needs.
 * @throws BitloomError INVALID_OPTION for what is no checkpoint, CORRUPT_FILE for a tokenizer that no artifact could be loaded with
 */
export async function checkpointModel(
  checkpoint: Checkpoint,
): Promise<{ readonly model: LanguageModel; readonly files: Readonly<Record<string, Uint8Array>> }> {
  if (!Array.isArray(checkpoint?.tokenizerFiles)) {
    throw invalidOption("checkpoint", "what openCheckpoint returns", checkpoint);
  }
  const files = await Promise.all(
    checkpoint.tokenizerFiles.map(async (path) => [basename(path), await readFile(path)] as const),
  );
  const byName = new Map(files);
  await Tokenizer.fromFiles(async (name) => byName.get(name)?.toString());
  return { model: languageModel(checkpoint.config), files: Object.fromEntries(files) };
}

/** `compile` for an opened Hugging Face folder. The caller closes the checkpoint's source. */
export async function compileCheckpoint(
  checkpoint: Checkpoint,
  options: Omit<CompileOptions, "weights" | "files">,
): Promise<CompileReport> {
  const { model, files } = await checkpointModel(checkpoint);
  return compile(model, { ...options, weights: checkpoint.source, files });
}
