import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { BitloomError } from "../../errors/index.ts";
import { existing, readJson } from "./json-file.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors.ts";
import type { StoredTensor } from "./safetensors-header.ts";

/** Where tensors lie: one file, or shards. */
export interface TensorPlace {
  readonly file: SafetensorsFile;
  readonly tensor: StoredTensor;
}

/** Tensors by name, and what closes the files they lie in. */
export interface TensorPlaces {
  readonly places: ReadonlyMap<string, TensorPlace>;
  readonly close: () => Promise<void>;
}

/**
 * Opens a safetensors file, or a folder's model.safetensors, or every shard that its model.safetensors.index.json
 * names. Throws MISSING_FILE, READ_FAILED, CORRUPT_FILE, INVALID_TENSOR or MISSING_TENSOR.
 */
export async function openTensors(path: string): Promise<TensorPlaces> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const single = isFolder ? join(path, "model.safetensors") : path;
  const index = `${single}.index.json`;
  const files = new Map<string, SafetensorsFile>();
  const close = async () => {
    await Promise.all([...files.values()].map((file) => file.close()));
  };
  const places = new Map<string, TensorPlace>();
  try {
    const [indexPath] = !isFolder || (await existing([single])).length > 0 ? [] : await existing([index]);
    if (indexPath === undefined) {
      const file = await openSafetensors(single);
      files.set(single, file);
      for (const tensor of file.tensors.values()) places.set(tensor.name, { file, tensor });
    } else {
      for (const [name, shard] of await readShardIndex(indexPath)) {
        let file = files.get(shard);
        if (file === undefined) {
          file = await openSafetensors(join(path, shard));
          files.set(shard, file);
        }
        const tensor = file.tensors.get(name);
        if (tensor === undefined) {
          throw new BitloomError("MISSING_TENSOR", `Shard ${shard} lacks tensor "${name}"`, {
            location: indexPath,
          });
        }
        places.set(name, { file, tensor });
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { places, close };
}

async function readShardIndex(path: string): Promise<Map<string, string>> {
  const parsed = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(await readJson(path));
  if (!parsed.success) {
    throw new BitloomError("CORRUPT_FILE", "The index of the shards is malformed", {
      received: z.prettifyError(parsed.error),
      location: path,
    });
  }
  const map = new Map(Object.entries(parsed.data.weight_map));
  for (const shard of map.values()) {
    // A shard lies beside its index; a path would let a file name reach outside the folder.
    if (shard !== basename(shard) || !shard.endsWith(".safetensors")) {
      throw new BitloomError("CORRUPT_FILE", "The index names a shard that is not a safetensors file", {
        received: shard,
        location: path,
      });
    }
  }
  return map;
}
