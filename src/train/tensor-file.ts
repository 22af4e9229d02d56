import { type Tensors, tensorFile } from "../../runtime/training/model-files.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { writeWhole } from "../files/whole-file.ts";

/** Writes f32 tensors as one safetensors file, which appears whole. @throws BitloomError WRITE_FAILED */
export function writeTensors(
  path: string,
  tensors: Tensors,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  return writeWhole(path, tensorFile(tensors, metadata));
}

/**
 * Reads the f32 tensors of a safetensors file, and its metadata.
 * @throws BitloomError MISSING_FILE, READ_FAILED, CORRUPT_FILE, INVALID_TENSOR
 */
export async function readTensors(
  path: string,
): Promise<{ readonly tensors: Tensors; readonly metadata: ReadonlyMap<string, string> }> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, { dims: readonly number[]; data: Float32Array<ArrayBuffer> }>();
    for (const stored of file.tensors.values()) {
      if (stored.dtype !== "F32") continue;
      const data = new Float32Array(stored.bytes / 4);
      await file.read(stored, 0, new Uint8Array(data.buffer));
      tensors.set(stored.name, { dims: stored.shape, data });
    }
    return { tensors, metadata: file.metadata };
  } finally {
    await file.close();
  }
}
