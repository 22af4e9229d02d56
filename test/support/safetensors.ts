import { readFile, writeFile } from "node:fs/promises";
import { encodeHeader, type SafetensorsType } from "../../runtime/safetensors.ts";

/** A tensor of a safetensors file as its bytes. */
export interface RawTensor {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Reads a whole safetensors file, checking nothing. */
export async function readTensors(path: string): Promise<Map<string, RawTensor>> {
  const file = new Uint8Array(await readFile(path));
  const start = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start)));
  delete header.__metadata__;
  return new Map(
    Object.entries<{ dtype: SafetensorsType; shape: number[]; data_offsets: [number, number] }>(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => [name, { dtype, shape, bytes: file.subarray(start + begin, start + end) }],
    ),
  );
}

export async function writeTensors(path: string, tensors: ReadonlyMap<string, RawTensor>): Promise<void> {
  const header = encodeHeader([...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  await writeFile(path, Buffer.concat([header, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}
