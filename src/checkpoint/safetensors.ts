import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { BitloomError } from "../../errors/index.ts";
import {
  headerLength,
  parseHeader,
  type SafetensorsHeader,
  type StoredTensor,
} from "./safetensors-header.ts";
import { checkRange } from "./source.ts";

/** One open safetensors file: a checked header, and tensor bytes at random access. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** Name for messages. */
  readonly file: string;
  /** Fills `into` from `byteOffset` of the tensor on. Throws CORRUPT_FILE when the file has shrunk, READ_FAILED. */
  read(tensor: StoredTensor, byteOffset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file and checks its header. Throws MISSING_FILE, READ_FAILED, CORRUPT_FILE or INVALID_TENSOR. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = basename(path);
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    throw new BitloomError("MISSING_FILE", `Cannot open ${file}`, { location: path, cause });
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new BitloomError("MISSING_FILE", `${file} is not a file`, { location: path });
    const fileBytes = stats.size;
    const prefix = new Uint8Array(8);
    if (fileBytes >= 8) await readFully(handle, 0, prefix, file);
    const header = new Uint8Array(headerLength(prefix, fileBytes, file));
    await readFully(handle, 8, header, file);
    return {
      ...parseHeader(header, fileBytes, file),
      file,
      async read(tensor, byteOffset, into) {
        checkRange(tensor.name, byteOffset, into.byteLength, tensor.bytes);
        await readFully(handle, tensor.offset + byteOffset, into, file);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readFully(
  handle: FileHandle,
  position: number,
  into: Uint8Array,
  file: string,
): Promise<void> {
  let done = 0;
  while (done < into.byteLength) {
    const { bytesRead } = await handle
      .read(into, done, into.byteLength - done, position + done)
      .catch((cause) => {
        throw new BitloomError("READ_FAILED", `Reading ${file} failed`, {
          received: (cause as Error).message,
          location: `${file}, byte ${position + done}`,
          cause,
        });
      });
    if (bytesRead === 0) {
      throw new BitloomError("CORRUPT_FILE", `${file} ends early`, {
        expected: `${into.byteLength} bytes from byte ${position}`,
        received: `${done} bytes`,
        location: `${file}, byte ${position + done}`,
      });
    }
    done += bytesRead;
  }
}
