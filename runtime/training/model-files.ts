import { encodeHeader } from "../safetensors.ts";
import type { TrainingRecipe } from "./recipe.ts";

/** f32 tensors by name. */
export type Tensors = ReadonlyMap<
  string,
  { readonly dims: readonly number[]; readonly data: Float32Array<ArrayBuffer> }
>;

/** A file in pieces, in their order; texts are UTF-8. */
export type FilePieces = readonly (Uint8Array<ArrayBuffer> | string)[];

/** A safetensors file of f32 tensors; the pieces are views of their data. */
export function tensorFile(tensors: Tensors, metadata: Readonly<Record<string, string>>): FilePieces {
  const declared = [...tensors].map(([name, { dims }]) => ({ name, dtype: "F32" as const, shape: dims }));
  const data = [...tensors.values()].map(
    ({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
  return [encodeHeader(declared, metadata), ...data];
}

/**
 * The files of a trained model by name, as a Hugging Face folder has them: latent weights, the tokenizer's files, and
 * config.json where the model is of a family. config.json comes last: a folder that has it is whole.
 */
export function modelFiles(
  weights: Tensors,
  { config }: Pick<TrainingRecipe, "config">,
  tokenizerFiles: Readonly<Record<string, string>>,
): ReadonlyMap<string, FilePieces> {
  const tokenizer = Object.entries(tokenizerFiles).map(([name, text]) => [name, [text]] as const);
  return new Map<string, FilePieces>([
    ["model.safetensors", tensorFile(weights, { format: "pt" })],
    ...tokenizer,
    ...(config === null ? [] : [["config.json", [`${JSON.stringify(config, null, 2)}\n`]] as const]),
  ]);
}
