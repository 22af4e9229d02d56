import { type FileHandle, open } from "node:fs/promises";
import { BitloomError } from "../../errors/index.ts";
import { dtypeBytes, type SafetensorsType } from "./safetensors-header.ts";

/** A tensor to write; its bytes follow in the order of the list. */
export interface TensorDeclaration {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
}

export interface SafetensorsWriter {
  /** First byte of tensor data in the file; a multiple of 64. */
  readonly dataOffset: number;
  /** Appends the next bytes; tensor borders need not coincide with calls. Throws WRITE_FAILED. */
  write(bytes: Uint8Array): Promise<void>;
  /** Closes the file; throws WRITE_FAILED unless every declared byte was written. */
  finish(): Promise<void>;
  /** Closes the file without checking, after a failure elsewhere. */
  abort(): Promise<void>;
}

/** Data starts on this boundary, so that a mapped file can be used in place by any vector load. */
const ALIGNMENT = 64;

/** The bytes before the tensor data: 8 bytes of length and the JSON, padded with spaces. */
export function encodeHeader(
  tensors: readonly TensorDeclaration[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let position = 0;
  for (const { name, dtype, shape } of tensors) {
    if (name in header || name === "__metadata__") {
      throw new BitloomError("INVALID_TENSOR", `Two tensors to write are named "${name}"`);
    }
    const end = position + shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
    header[name] = { dtype, shape, data_offsets: [position, end] };
    position = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const total = Math.ceil((8 + json.byteLength) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(total).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(total - 8), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * Creates `path` and writes the header. The caller owns the path: it writes to a temporary one and renames it
 * after `finish`, so that nothing partial is left behind.
 */
export async function createSafetensors(
  path: string,
  tensors: readonly TensorDeclaration[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<SafetensorsWriter> {
  const header = encodeHeader(tensors, metadata);
  const dataBytes = tensors.reduce(
    (sum, { dtype, shape }) => sum + shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]),
    0,
  );
  const failure = (summary: string, cause?: unknown) =>
    new BitloomError("WRITE_FAILED", summary, { location: path, cause });
  let handle: FileHandle;
  try {
    handle = await open(path, "w");
  } catch (cause) {
    throw failure("Cannot create a weights file", cause);
  }
  let position = 0;
  const append = async (bytes: Uint8Array) => {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, position);
        done += bytesWritten;
        position += bytesWritten;
      }
    } catch (cause) {
      throw failure(`Writing failed at byte ${position}`, cause);
    }
  };
  const end = header.byteLength + dataBytes;
  try {
    await append(header);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    dataOffset: header.byteLength,
    async write(bytes) {
      if (position + bytes.byteLength > end) {
        throw failure(`More tensor data than the ${dataBytes} bytes that were declared`);
      }
      await append(bytes);
    },
    async finish() {
      try {
        await handle.close();
      } catch (cause) {
        throw failure("Cannot close the weights file", cause);
      }
      if (position !== end) {
        throw failure(`Only ${position - header.byteLength} of ${dataBytes} declared bytes were written`);
      }
    },
    abort: () => handle.close(),
  };
}
