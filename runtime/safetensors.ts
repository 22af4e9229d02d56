import { BitloomError } from "../errors/index.ts";

/** Bytes of one element, by the dtype names of the safetensors format. */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;
export type SafetensorsType = keyof typeof dtypeBytes;

/** A tensor to write. */
export interface TensorDeclaration {
  readonly name: string;
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
}

/** Data starts on this boundary, so that a mapped file can be used in place by any vector load. */
const ALIGNMENT = 64;

/**
 * The bytes of a safetensors file that precede its tensor data: 8 bytes of length and the JSON, padded with
 * spaces. The tensors' bytes follow in the order of the list.
 */
export function encodeHeader(
  tensors: readonly TensorDeclaration[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
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
