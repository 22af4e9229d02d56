import * as z from "zod/mini";
import { BitloomError } from "../../errors/index.ts";
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
export function tensorFile(
  tensors: Tensors,
  metadata: Readonly<Record<string, string>>,
): readonly Uint8Array<ArrayBuffer>[] {
  const declared = [...tensors].map(([name, { dims }]) => ({ name, dtype: "F32" as const, shape: dims }));
  const data = [...tensors.values()].map(
    ({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
  return [encodeHeader(declared, metadata), ...data];
}

const headerSchema = z.record(
  z.string(),
  z.object({ shape: z.array(z.int()), data_offsets: z.tuple([z.int(), z.int()]) }),
);

/** What `tensorFile` made a file of; the data are views of it. @throws BitloomError CORRUPT_FILE */
export function tensorsOf(file: Uint8Array<ArrayBuffer>): Tensors {
  try {
    const start = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
    const header = headerSchema.parse(JSON.parse(new TextDecoder().decode(file.subarray(8, start))));
    return new Map(
      Object.entries(header).map(
        ([
          name,
          {
            shape,
            data_offsets: [begin, end],
          },
        ]) => [name, { dims: shape, data: new Float32Array(file.buffer, start + begin, (end - begin) / 4) }],
      ),
    );
  } catch (cause) {
    throw new BitloomError("CORRUPT_FILE", "The first weights of the training are no tensors", { cause });
  }
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
