import { access } from "node:fs/promises";
import { join } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import { LanguageModel, type LoadOptions, load, type Model } from "../../runtime/index.ts";
import { Progress } from "./progress.ts";
import { warn } from "./warn.ts";

/** Loads an artifact folder with progress on stderr. */
export async function loadArtifact(
  folder: string,
  options: Pick<LoadOptions, "device" | "threads" | "signal">,
): Promise<Model> {
  await access(join(folder, "manifest.json")).catch((cause) => {
    throw new BitloomError("MISSING_FILE", `${folder} is not an artifact: it has no manifest.json`, {
      hint: "Make one with: bitloom build <model> --out <folder>",
      cause,
    });
  });
  const progress = new Progress();
  try {
    return await load(folder, {
      ...options,
      onProgress: ({ status, file, loaded, total }) => {
        if (status === "progress" && file.endsWith(".safetensors")) progress.update("loading", loaded, total);
      },
      onWarning: ({ code, message }) => {
        progress.clear();
        warn(`${message.replace(/\.$/, "")} [${code}]`);
      },
    });
  } finally {
    progress.clear();
  }
}

/** The same for an artifact that must continue text. */
export async function loadLanguageArtifact(
  folder: string,
  options: Pick<LoadOptions, "device" | "threads" | "signal">,
): Promise<LanguageModel> {
  const model = await loadArtifact(folder, options);
  if (model instanceof LanguageModel) return model;
  await model.dispose();
  throw new BitloomError("INVALID_INPUT", `${folder} holds no language model`, {
    hint: 'Load it in code: (await load("…")).run(inputs).',
  });
}
